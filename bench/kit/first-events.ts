import type { SQSEvent } from 'aws-lambda';
import type { Message } from '../../lib/queue/messages.ts';
import { serialise } from '../../lib/queue/parse.ts';
import { secretOf } from '../../lib/webhook/secrets.ts';
import { deploy, type FunctionName, WEBHOOK_SECRET } from '../../test/kit/lambda/deployment.ts';
import type { SandboxOptions } from '../../test/kit/lambda/sandbox.ts';
import { mirror } from '../../test/kit/mirror.ts';
import { startRegistry } from '../../test/kit/registry.ts';
import type { S3Server } from '../../test/kit/s3-server.ts';
import { startFauxSqs } from '../../test/kit/sqs-server.ts';
import type { TempFolder } from '../../test/kit/temp.ts';
import { tagged } from './images.ts';

export interface FirstEvent {
  readonly name: FunctionName;
  /** The work that the event causes. */
  readonly does: string;
  readonly options: Omit<SandboxOptions, 'onLog'>;
  readonly event: unknown;
}

/**
 * A repeatable event for each function that uses all of its dependencies: it reads configuration and secrets, sends
 * requests to the registry and the archive, and sends or writes something. All servers run on this machine.
 */
export async function firstEvents(
  bundles: TempFolder,
  s3: S3Server,
): Promise<AsyncDisposable & { readonly all: readonly FirstEvent[] }> {
  await using stack = new AsyncDisposableStack();
  const registry = stack.use(await startRegistry());
  const sqs = stack.use(await startFauxSqs());
  for (const [tag, image] of tagged(1)) registry.push('team/app', image, tag);
  const source = `${registry.host}/team/app`;
  const config = `version: 1\nmirrors:\n  - source: ${source}\n    tags: all\n`;
  const deployment = stack.use(await deploy({ bundles, sqs, s3, config }));

  // The last message of each type that one mirror of the image has sent.
  const sent = new Map<Message['type'], Message>();
  await mirror({
    store: deployment.archive.store,
    references: [source],
    wrapQueues: (queues) => ({
      send(queue, messages, options) {
        for (const { message } of messages) sent.set(message.type, message);
        return queues.send(queue, messages, options);
      },
    }),
  });
  const record = (type: Message['type']): SQSEvent => recordOf(sent.get(type));
  const layer = sent.get('layer');
  const all: readonly Omit<FirstEvent, 'options'>[] = [
    { name: 'resolver', does: 'finds a tag unchanged', event: record('resolve') },
    // With this lookup, it fetches the layer again.
    {
      name: 'layer',
      does: 'brings a layer of 3 KB',
      event: recordOf(layer?.type === 'layer' ? { ...layer, look: 'receipt' } : undefined),
    },
    { name: 'finalizer', does: 'checks an image, and finds its tag written', event: record('finalize') },
    { name: 'webhook', does: 'passes on a push', event: pushTo(registry.host) },
    { name: 'dead-letters', does: 'records a layer as failed', event: record('layer') },
  ];
  const kept = stack.move();
  return {
    all: all.map((each) => ({ ...each, options: deployment.functions[each.name] })),
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

function recordOf(message: Message | undefined): SQSEvent {
  if (message === undefined) throw new Error('no such message was sent');
  const attributes = {
    ApproximateReceiveCount: '1',
    ApproximateFirstReceiveTimestamp: '0',
    SenderId: 'bench',
    SentTimestamp: '0',
    MessageGroupId: 'bench',
  };
  const body = serialise(message);
  const arn = 'arn:aws:sqs:eu-central-1:000000000000:bench.fifo';
  const rest = { messageAttributes: {}, md5OfBody: '', eventSource: 'aws:sqs', eventSourceARN: arn, awsRegion: '' };
  return { Records: [{ messageId: 'bench', receiptHandle: 'bench', body, attributes, ...rest }] };
}

/** The notification of the distribution registry for a pushed tag, as a function URL passes it on. */
function pushTo(host: string): object {
  const mediaType = 'application/vnd.oci.image.manifest.v1+json';
  const target = { mediaType, digest: `sha256:${'0'.repeat(64)}`, size: 1, repository: 'team/app', tag: 'v1' };
  const event = { id: 'e1', action: 'push', timestamp: '2026-01-01T00:00:00Z', target, request: { host } };
  return {
    rawPath: '/',
    rawQueryString: '',
    headers: {
      'content-type': 'application/vnd.docker.distribution.events.v1+json',
      authorization: `Bearer ${secretOf('distribution', WEBHOOK_SECRET)}`,
    },
    body: JSON.stringify({ events: [event] }),
    isBase64Encoded: false,
    requestContext: { requestId: 'r1', http: { method: 'POST' } },
  };
}
