import { Archive } from '../../../lib/archive/archive.ts';
import { ociLayout } from '../../../lib/archive/oci-layout.ts';
import { type AwsServices, startAwsServices } from '../aws-services.ts';
import type { S3Server } from '../s3-server.ts';
import type { SqsServer, TestQueue } from '../sqs-server.ts';
import type { TempFolder } from '../temp.ts';
import { fromTemplate, namesOf } from './from-template.ts';
import { Gate, type GateOptions } from './gate.ts';
import type { SandboxOptions } from './sandbox.ts';

const SECRETS = {
  credentials: 'arn:aws:secretsmanager:eu-central-1:000000000000:secret:credentials',
  webhook: 'arn:aws:secretsmanager:eu-central-1:000000000000:secret:webhook',
};

export const WEBHOOK_SECRET = 'the-secret-of-the-webhooks';

export const FUNCTIONS = ['resolver', 'layer', 'finalizer', 'webhook', 'dead-letters', 'runs'] as const;
export type FunctionName = (typeof FUNCTIONS)[number];

export const QUEUES = ['resolve', 'layer', 'finalize'] as const;
type QueueName = (typeof QUEUES)[number];

export interface DeploymentOptions {
  readonly bundles: TempFolder;
  readonly sqs: SqsServer;
  readonly s3: S3Server;
  /** `mirror.yaml`. */
  readonly config: string;
  /** Milliseconds; 60,000 by default. */
  readonly layerTimeoutMs?: number;
  /** The time for which a message is invisible after its sandbox was killed. */
  readonly visibilitySeconds?: number;
  readonly maxReceives?: number;
  readonly environment?: Readonly<Record<string, string>>;
  /** The fault of a function's next request to S3. */
  readonly s3Fault?: GateOptions['s3Fault'];
}

/**
 * The deployment of serverless.yml on servers of this machine, at rest: bundles, queues, a bucket, secrets and an event bus.
 * Each function has the variables of the template, and reaches the resources only through its role.
 */
export interface Deployment extends AsyncDisposable {
  readonly archive: Archive;
  readonly queues: Readonly<Record<QueueName, TestQueue>>;
  /** The events on the event bus. */
  readonly events: AwsServices['events'];
  /** How the sandboxes of each function are started. */
  readonly functions: Readonly<Record<FunctionName, Omit<SandboxOptions, 'onLog'>>>;
  /** Rejects with the missing permission as soon as a role lacks one. */
  readonly denied: Promise<never>;
}

/** MiB, as serverless.yml has them. */
export const MEMORY: Readonly<Record<FunctionName, number>> = {
  resolver: 512,
  layer: 1769,
  finalizer: 512,
  webhook: 256,
  'dead-letters': 256,
  runs: 256,
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
  await using stack = new AsyncDisposableStack();
  const secrets = { [SECRETS.credentials]: '{}', [SECRETS.webhook]: WEBHOOK_SECRET };
  const services = stack.use(await startAwsServices(secrets));
  const cloud = { queues, bucket, secrets: SECRETS };
  const gates: Gate[] = [];
  const lambda = async (name: FunctionName): Promise<Omit<SandboxOptions, 'onLog'>> => {
    const { s3Fault } = options;
    const gate = stack.use(
      await Gate.start({
        name,
        s3: s3.env['AWS_ENDPOINT_URL_S3'] ?? s3.endpoint,
        sqs: sqs.env['AWS_ENDPOINT_URL_SQS'] ?? sqs.endpoint,
        services: services.endpoint,
        ...(s3Fault === undefined ? {} : { s3Fault }),
      }),
    );
    gates.push(gate);
    const names = namesOf(cloud, gate.endpoint);
    const { statements, variables } = await fromTemplate(name, names);
    gate.open(statements, names);
    const limits = 'MIRROR_SYNC_MAX_RECEIVES' in variables ? { MIRROR_SYNC_MAX_RECEIVES: String(maxReceives) } : {};
    return {
      name,
      bundle: bundles.join('functions', name, 'index.mjs'),
      environment: { ...s3.env, ...gate.env, ...variables, ...limits, ...options.environment },
      memory: MEMORY[name],
      timeoutMs: name === 'layer' ? layerTimeoutMs : 60_000,
    };
  };
  const functions = {
    resolver: await lambda('resolver'),
    layer: await lambda('layer'),
    finalizer: await lambda('finalizer'),
    webhook: await lambda('webhook'),
    'dead-letters': await lambda('dead-letters'),
    runs: await lambda('runs'),
  };
  const denied = Promise.race(gates.map((gate) => gate.denied));
  denied.catch(() => undefined);
  const kept = stack.move();
  return {
    archive: new Archive(store, ociLayout),
    queues,
    events: services.events,
    functions,
    denied,
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}
