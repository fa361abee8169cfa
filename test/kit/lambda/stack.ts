import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Archive } from '../../../lib/archive/archive.ts';
import { ociLayout } from '../../../lib/archive/oci-layout.ts';
import { type AwsServices, startAwsServices } from '../aws-services.ts';
import type { S3Server } from '../s3-server.ts';
import type { SqsServer, TestQueue } from '../sqs-server.ts';
import { tempFolder, type TempFolder } from '../temp.ts';
import { LambdaFunction } from './function.ts';
import { drained, type EventSource, EventSourcePoller } from './poller.ts';
import type { Invocation } from './sandbox.ts';

const ROOT = join(import.meta.dirname, '../../..');

const SECRET = 'arn:aws:secretsmanager:us-east-1:000000000000:secret';

export const WEBHOOK_SECRET = 'the-secret-of-the-webhooks';

/** The bundles as they are deployed, built into a folder of their own. */
export async function buildBundles(): Promise<TempFolder> {
  const folder = await tempFolder();
  await promisify(execFile)(process.execPath, [join(ROOT, 'scripts/build.ts'), folder.path]);
  return folder;
}

export interface StackOptions {
  readonly bundles: TempFolder;
  readonly sqs: SqsServer;
  readonly s3: S3Server;
  /** `mirror.yaml`. */
  readonly config: string;
  /** Milliseconds; 60,000 unless told. */
  readonly layerTimeoutMs?: number;
  /** How long a message is out of sight behind a killed sandbox. */
  readonly visibilitySeconds?: number;
  readonly maxReceives?: number;
  readonly again?: EventSource['again'];
  readonly environment?: Readonly<Record<string, string>>;
}

const QUEUES = ['resolve', 'layer', 'finalize'] as const;

type FunctionName = 'resolver' | 'layer' | 'finalizer' | 'webhook' | 'dead-letters';

let stacks = 0;

/** What serverless.yml deploys, on servers of this machine: bundles, queues, a bucket, secrets and an event bus. */
export class Stack implements AsyncDisposable {
  readonly archive: Archive;
  readonly functions: Readonly<Record<FunctionName, LambdaFunction>>;
  readonly queues: Readonly<Record<(typeof QUEUES)[number], TestQueue>>;
  readonly #services: AwsServices;
  readonly #pollers: Readonly<Record<string, EventSourcePoller>>;

  private constructor(
    archive: Archive,
    services: AwsServices,
    queues: Stack['queues'],
    functions: Stack['functions'],
    options: StackOptions,
  ) {
    const { sqs, again } = options;
    this.archive = archive;
    this.#services = services;
    this.queues = queues;
    this.functions = functions;
    const poll = (
      queue: EventSource['queue'],
      name: FunctionName,
      limits: { readonly batchSize: number; readonly concurrency: number },
    ): EventSourcePoller =>
      new EventSourcePoller({
        client: sqs.client,
        queue,
        target: functions[name],
        ...limits,
        ...(again === undefined ? {} : { again }),
      });
    this.#pollers = {
      resolve: poll(queues.resolve, 'resolver', { batchSize: 1, concurrency: 2 }),
      layer: poll(queues.layer, 'layer', { batchSize: 1, concurrency: 3 }),
      finalize: poll(queues.finalize, 'finalizer', { batchSize: 10, concurrency: 2 }),
      ...Object.fromEntries(
        QUEUES.map((name) => [
          `dead ${name}`,
          poll(queues[name].deadLetters, 'dead-letters', { batchSize: 10, concurrency: 1 }),
        ]),
      ),
    };
  }

  static async start(options: StackOptions): Promise<Stack> {
    const { sqs, s3, bundles, config, layerTimeoutMs = 60_000, visibilitySeconds = 120, maxReceives = 5 } = options;
    stacks += 1;
    const make = (name: string): Promise<TestQueue> =>
      sqs.createQueue(`stack-${stacks}-${name}`, { visibilitySeconds, maxReceives });
    const [resolve, layer, finalize] = [await make('resolve'), await make('layer'), await make('finalize')];
    const bucket = await s3.bucket();
    const store = await s3.store({ bucket, prefix: '' });
    await store.put('config/mirror.yaml', Buffer.from(config));
    const services = await startAwsServices({ [`${SECRET}:credentials`]: '{}', [`${SECRET}:webhook`]: WEBHOOK_SECRET });

    // As serverless.yml has them; test/unit/infra compares those with what the functions read.
    const archive = { MIRROR_SYNC_ARCHIVE: `s3://${bucket}/` };
    const configuration = { MIRROR_SYNC_CONFIG: `s3://${bucket}/config/mirror.yaml` };
    const limits = { MIRROR_SYNC_LANES: '4', MIRROR_SYNC_MAX_RECEIVES: String(maxReceives) };
    const credentials = { MIRROR_SYNC_CREDENTIALS_SECRET: `${SECRET}:credentials` };
    const events = { MIRROR_SYNC_EVENT_BUS: 'default' };
    const toResolve = { MIRROR_SYNC_RESOLVE_QUEUE_URL: resolve.url };
    const toLayer = { MIRROR_SYNC_LAYER_QUEUE_URL: layer.url };
    const toFinalize = { MIRROR_SYNC_FINALIZE_QUEUE_URL: finalize.url };
    const variables: Record<FunctionName, Record<string, string>> = {
      resolver: { ...archive, ...configuration, ...limits, ...credentials, ...toResolve, ...toLayer, ...toFinalize },
      layer: { ...archive, ...configuration, ...limits, ...credentials, ...toLayer, ...toFinalize },
      finalizer: { ...archive, ...events, ...toFinalize },
      webhook: { ...configuration, ...toResolve, MIRROR_SYNC_WEBHOOK_SECRET: `${SECRET}:webhook` },
      'dead-letters': { ...archive, ...events, ...toFinalize },
    };
    const lambda = (name: FunctionName, memory: number, timeoutMs = 60_000): LambdaFunction =>
      new LambdaFunction({
        name,
        bundle: bundles.join('functions', name, 'index.mjs'),
        environment: {
          ...sqs.env,
          ...s3.env,
          ...services.env,
          POWERTOOLS_SERVICE_NAME: 'mirror-sync-test',
          POWERTOOLS_METRICS_NAMESPACE: 'MirrorSync',
          ...variables[name],
          ...options.environment,
        },
        memory,
        timeoutMs,
        concurrency: 3,
      });
    const functions = {
      resolver: lambda('resolver', 512),
      layer: lambda('layer', 1769, layerTimeoutMs),
      finalizer: lambda('finalizer', 512),
      webhook: lambda('webhook', 256),
      'dead-letters': lambda('dead-letters', 256),
    };
    return new Stack(new Archive(store, ociLayout), services, { resolve, layer, finalize }, functions, options);
  }

  /** What was put on the event bus. */
  get events(): AwsServices['events'] {
    return this.#services.events;
  }

  /** The batches that a queue has given so far, by the queue's name; `dead layer` for its dead letters. */
  batches(queue: string): readonly (readonly string[])[] {
    return this.#pollers[queue]?.batches ?? [];
  }

  /** What the schedule sends. */
  schedule(id: string): Promise<Invocation> {
    return this.functions.resolver.invoke({ schedule: { id, time: new Date().toISOString() } });
  }

  /** Resolves when nothing is left in any queue. */
  drained(): Promise<void> {
    return drained(Object.values(this.#pollers));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const lambda of Object.values(this.functions)) lambda.kill();
    await Promise.all(Object.values(this.#pollers).map((poller) => poller[Symbol.asyncDispose]()));
    await Promise.all(Object.values(this.functions).map((lambda) => lambda[Symbol.asyncDispose]()));
    await this.#services[Symbol.asyncDispose]();
  }
}
