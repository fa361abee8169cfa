import { Archive } from '../../../lib/archive/archive.ts';
import { ociLayout } from '../../../lib/archive/oci-layout.ts';
import { type AwsServices, startAwsServices } from '../aws-services.ts';
import type { S3Server } from '../s3-server.ts';
import type { SqsServer, TestQueue } from '../sqs-server.ts';
import type { TempFolder } from '../temp.ts';
import type { SandboxOptions } from './sandbox.ts';

const SECRET = 'arn:aws:secretsmanager:us-east-1:000000000000:secret';

export const WEBHOOK_SECRET = 'the-secret-of-the-webhooks';

export const FUNCTIONS = ['resolver', 'layer', 'finalizer', 'webhook', 'dead-letters'] as const;
export type FunctionName = (typeof FUNCTIONS)[number];

export const QUEUES = ['resolve', 'layer', 'finalize'] as const;
type QueueName = (typeof QUEUES)[number];

export interface DeploymentOptions {
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
  readonly environment?: Readonly<Record<string, string>>;
}

/** What serverless.yml deploys, on servers of this machine, at rest: bundles, queues, a bucket, secrets and an event bus. */
export interface Deployment extends AsyncDisposable {
  readonly archive: Archive;
  readonly queues: Readonly<Record<QueueName, TestQueue>>;
  /** What was put on the event bus. */
  readonly events: AwsServices['events'];
  /** How the sandboxes of each function are started. */
  readonly functions: Readonly<Record<FunctionName, Omit<SandboxOptions, 'onLog'>>>;
}

/** MiB, as serverless.yml has them. */
export const MEMORY: Readonly<Record<FunctionName, number>> = {
  resolver: 512,
  layer: 1769,
  finalizer: 512,
  webhook: 256,
  'dead-letters': 256,
};

let deployments = 0;

export async function deploy(options: DeploymentOptions): Promise<Deployment> {
  const { sqs, s3, bundles, config, layerTimeoutMs = 60_000, visibilitySeconds = 120, maxReceives = 5 } = options;
  deployments += 1;
  const make = (name: string): Promise<TestQueue> =>
    sqs.createQueue(`stack-${deployments}-${name}`, { visibilitySeconds, maxReceives });
  const queues = { resolve: await make('resolve'), layer: await make('layer'), finalize: await make('finalize') };
  const bucket = await s3.bucket();
  const store = await s3.store({ bucket, prefix: '' });
  await store.put('config/mirror.yaml', Buffer.from(config));
  const services = await startAwsServices({ [`${SECRET}:credentials`]: '{}', [`${SECRET}:webhook`]: WEBHOOK_SECRET });
  const variables = variablesOf(bucket, queues, maxReceives);
  const lambda = (name: FunctionName): Omit<SandboxOptions, 'onLog'> => ({
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
    memory: MEMORY[name],
    timeoutMs: name === 'layer' ? layerTimeoutMs : 60_000,
  });
  return {
    archive: new Archive(store, ociLayout),
    queues,
    events: services.events,
    functions: {
      resolver: lambda('resolver'),
      layer: lambda('layer'),
      finalizer: lambda('finalizer'),
      webhook: lambda('webhook'),
      'dead-letters': lambda('dead-letters'),
    },
    [Symbol.asyncDispose]: () => services[Symbol.asyncDispose](),
  };
}

/** As serverless.yml has them; test/unit/infra compares those with what the functions read. */
function variablesOf(
  bucket: string,
  queues: Deployment['queues'],
  maxReceives: number,
): Record<FunctionName, Record<string, string>> {
  const archive = { MIRROR_SYNC_ARCHIVE: `s3://${bucket}/` };
  const configuration = { MIRROR_SYNC_CONFIG: `s3://${bucket}/config/mirror.yaml` };
  const limits = { MIRROR_SYNC_LANES: '4', MIRROR_SYNC_MAX_RECEIVES: String(maxReceives) };
  const credentials = { MIRROR_SYNC_CREDENTIALS_SECRET: `${SECRET}:credentials` };
  const events = { MIRROR_SYNC_EVENT_BUS: 'default' };
  const toResolve = { MIRROR_SYNC_RESOLVE_QUEUE_URL: queues.resolve.url };
  const toLayer = { MIRROR_SYNC_LAYER_QUEUE_URL: queues.layer.url };
  const toFinalize = { MIRROR_SYNC_FINALIZE_QUEUE_URL: queues.finalize.url };
  return {
    resolver: { ...archive, ...configuration, ...limits, ...credentials, ...toResolve, ...toLayer, ...toFinalize },
    layer: { ...archive, ...configuration, ...limits, ...credentials, ...toLayer, ...toFinalize },
    finalizer: { ...archive, ...events, ...toFinalize },
    webhook: { ...configuration, ...toResolve, MIRROR_SYNC_WEBHOOK_SECRET: `${SECRET}:webhook` },
    'dead-letters': { ...archive, ...events, ...toFinalize },
  };
}
