/** The registry function of serverless.yml, behind an HTTP server on loopback that stands in for a load balancer. */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { HttpResult } from '../../../functions/http.ts';
import { startAwsServices } from '../aws-services.ts';
import type { S3Server } from '../s3-server.ts';
import type { TempFolder } from '../temp.ts';
import { fromTemplate } from './from-template.ts';
import { LambdaFunction } from './function.ts';
import { Gate } from './gate.ts';
import { balancerEvent } from './http-events.ts';
import type { CloudNames } from './iam.ts';

const TOKENS = 'arn:aws:secretsmanager:eu-central-1:000000000000:secret:registry-tokens';

export const LOGIN = { user: 'ci', password: 'a-generated-token' };

export interface RegistryFunctionOptions {
  readonly bundles: TempFolder;
  readonly s3: S3Server;
  readonly bucket: string;
  /** With a slash at its end. */
  readonly prefix: string;
  readonly parameters?: Readonly<Record<string, string>>;
}

export interface RegistryFunction extends AsyncDisposable {
  readonly lambda: LambdaFunction;
  /** `127.0.0.1:PORT` */
  readonly host: string;
  /** Invokes the function, and expects an answer. */
  call(event: object): Promise<HttpResult>;
  /** Rejects with the missing permission as soon as the role lacks one. */
  readonly denied: Promise<never>;
}

/** The role of the template decides what it reaches, also through the URLs that it signs. */
export async function startRegistryFunction(options: RegistryFunctionOptions): Promise<RegistryFunction> {
  const { bundles, s3, bucket, prefix, parameters = {} } = options;
  await using stack = new AsyncDisposableStack();
  const hash = createHash('sha256').update(LOGIN.password).digest('hex');
  const services = stack.use(await startAwsServices({ [TOKENS]: JSON.stringify({ [LOGIN.user]: hash }) }));
  const { endpoint } = services;
  const gate = stack.use(await Gate.start({ name: 'registry', s3: s3.endpoint, sqs: endpoint, services: endpoint }));
  const names: CloudNames = {
    ref: {
      ArchiveBucket: bucket,
      RegistryTokens: TOKENS,
      'AWS::Partition': 'aws',
      'AWS::Region': 'eu-central-1',
      'AWS::AccountId': '000000000000',
    },
    arn: {},
    queueArn: (url) => {
      throw new Error(`unknown queue ${url}`);
    },
  };
  const { statements, variables } = await fromTemplate('registry', names, { registry: 'on', prefix, ...parameters });
  gate.open(statements, names);
  const lambda = stack.use(
    new LambdaFunction({
      name: 'registry',
      bundle: bundles.join('functions/registry/index.mjs'),
      environment: { ...s3.env, ...gate.env, ...variables },
      memory: 512,
      timeoutMs: 30_000,
    }),
  );
  const call = async (event: object): Promise<HttpResult> => {
    const { outcome } = await lambda.invoke(event);
    if (!('payload' in outcome)) throw new Error(JSON.stringify(outcome));
    return outcome.payload as HttpResult;
  };
  const server = createServer((request, response) => {
    forward(request, response, call).catch((error: unknown) => response.destroy(error as Error));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  stack.defer(async () => {
    server.close();
    server.closeAllConnections();
    await once(server, 'close');
  });
  const kept = stack.move();
  return {
    lambda,
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    call,
    denied: gate.denied,
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

async function forward(
  { method = '', url = '', headers, socket }: IncomingMessage,
  response: ServerResponse,
  call: (event: object) => Promise<HttpResult>,
): Promise<void> {
  const sent = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, String(value)]));
  const all = { ...sent, 'x-forwarded-for': socket.remoteAddress ?? '', 'x-forwarded-proto': 'http' };
  const result = await call(balancerEvent({ target: url, method, headers: all }));
  response.writeHead(result.statusCode, result.headers);
  response.end(Buffer.from(result.body, result.isBase64Encoded ? 'base64' : 'utf8'));
}
