import { SQSClient } from '@aws-sdk/client-sqs';
import { once } from 'node:events';
import { createServer, type IncomingMessage, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { pipeline } from 'node:stream/promises';
import type { S3Server } from './s3-server.ts';
import type { SqsServer } from './sqs-server.ts';

/** Passes requests to S3 and SQS on, and counts them by operation, whichever client sends them. */
export interface Counting extends AsyncDisposable {
  readonly s3: S3Server;
  readonly sqs: SqsServer;
  /** `GetObject: 3`; SQS: `SendMessageBatch: 1`. */
  readonly counts: Readonly<Record<string, number>>;
  forget(): void;
}

export async function counting(s3: S3Server, sqs: SqsServer): Promise<Counting> {
  let counts: Record<string, number> = {};
  const count = (operation: string): void => void (counts[operation] = (counts[operation] ?? 0) + 1);
  await using stack = new AsyncDisposableStack();
  const toS3 = stack.use(await proxyTo(s3.endpoint, (incoming) => count(s3Operation(incoming))));
  const toSqs = stack.use(await proxyTo(sqs.endpoint, (incoming) => count(sqsOperation(incoming))));
  const { region, credentials } = sqs.client.config;
  const client = stack.adopt(new SQSClient({ endpoint: toSqs.endpoint, region, credentials }), (it) => it.destroy());
  const kept = stack.move();
  return {
    s3: { ...s3, env: { ...s3.env, AWS_ENDPOINT_URL_S3: toS3.endpoint } },
    sqs: {
      ...sqs,
      client,
      env: { ...sqs.env, AWS_ENDPOINT_URL_SQS: toSqs.endpoint },
      async createQueue(name, options) {
        const queue = await sqs.createQueue(name, options);
        // Clients that get the address of a queue send its requests to the origin of that address.
        const counted = (url: string): string => new URL(new URL(url).pathname, toSqs.endpoint).href;
        const deadLetters = { ...queue.deadLetters, url: counted(queue.deadLetters.url) };
        return { ...queue, url: counted(queue.url), deadLetters };
      },
    },
    get counts() {
      return counts;
    },
    forget: () => void (counts = {}),
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

/** The SDK names most operations in the query (`x-id`); AWS bills the operation itself, so that is the name here. */
function s3Operation({ method, url = '' }: IncomingMessage): string {
  const query = new URL(url, 'http://s3').searchParams;
  const named = query.get('x-id');
  if (named !== null) return named;
  if (method === 'GET') return query.has('uploads') ? 'ListMultipartUploads' : 'ListObjectsV2';
  if (method === 'POST') return query.has('uploads') ? 'CreateMultipartUpload' : 'CompleteMultipartUpload';
  return method === 'HEAD' ? 'HeadObject' : `${method ?? ''} ${url}`;
}

function sqsOperation({ headers }: IncomingMessage): string {
  return String(headers['x-amz-target']).replace('AmazonSQS.', '');
}

/** Passes every request on unchanged, including its signature and `Host`. */
export async function proxyTo(
  endpoint: string,
  onRequest: (incoming: IncomingMessage) => void,
): Promise<AsyncDisposable & { readonly endpoint: string }> {
  const { hostname, port } = new URL(endpoint);
  const server = createServer((incoming, outgoing) => {
    onRequest(incoming);
    const { method, url: path, headers } = incoming;
    const forwarded = request({ hostname, port, method, path, headers });
    forwarded.once('response', (answer) => {
      outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
      pipeline(answer, outgoing).catch(() => outgoing.destroy());
    });
    pipeline(incoming, forwarded).catch(() => outgoing.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}
