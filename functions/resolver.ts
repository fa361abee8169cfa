import type { Context, SQSBatchResponse, SQSEvent } from 'aws-lambda';
import { type Config, registrySettings } from '../lib/config/mirrors.ts';
import { readEnvironment } from '../lib/config/environment.ts';
import type { ResolverContext } from '../lib/sync/context.ts';
import { markQueued, queuedBy } from '../lib/sync/resolver/queued.ts';
import { Quota } from '../lib/sync/resolver/quota.ts';
import { writeReport } from '../lib/sync/reports.ts';
import { resolve } from '../lib/sync/resolver/resolve.ts';
import { type RunStart, runStartOf, writeRunStart } from '../lib/sync/runs.ts';
import { tagChoice } from '../lib/app/choose.ts';
import { isUnknownRequest } from '../lib/app/missing.ts';
import { ordersFor, ordersOf } from '../lib/app/start.ts';
import type { ImageEvent, Observe } from '../lib/sync/events.ts';
import type { ResolveMessage } from '../lib/queue/messages.ts';
import type { Queues } from '../lib/queue/queue.ts';
import type { Sources } from '../lib/registry/source.ts';
import { allowed } from '../lib/webhook/orders.ts';
import { configFrom, once, openArchive, openQueues } from './aws.ts';
import { type BatchOptions, handleBatch } from './batch.ts';
import { failImages } from './fail-images.ts';
import { MissingConfiguration } from './kept.ts';
import { postponeIn } from './postpone.ts';
import { sendRunStarted } from './record.ts';
import { readRequest, type Request } from './request.ts';
import { requeueIn } from './requeue.ts';
import { signalOf } from './signal.ts';
import { sourcesFrom } from './sources.ts';
import { leftOut, log, observe, observed, onFailedRecord, onRetry, runStarted } from './telemetry.ts';

/** The prefix of runs that a person has started. */
const BY_HAND = 'request-';

/** The result of a schedule or a request. */
interface Started {
  readonly run: string;
  readonly messages: number;
}

const wired = once(() => {
  const env = readEnvironment(
    process.env,
    'archive',
    'config',
    'resolveQueue',
    'layerQueue',
    'finalizeQueue',
    'credentialsSecret',
    'eventBus',
    'lanes',
    'maxReceives',
  );
  const { resolveQueue, layerQueue, finalizeQueue, lanes } = env;
  const config = configFrom(env.config);
  const archive = openArchive(env.archive);
  const queues = openQueues({ resolve: resolveQueue, layer: layerQueue, finalize: finalizeQueue });
  const sources = sourcesFrom(config, env.credentialsSecret, { lanes, onRetry });
  return {
    config,
    archive,
    eventBus: env.eventBus,
    queues,
    sources,
    lanes,
    maxReceives: env.maxReceives,
    postpone: postponeIn(resolveQueue),
    requeue: requeueIn(resolveQueue),
    observe,
    leftOut,
    onFailure: onFailedRecord,
  };
});

/** Handles messages of the resolve queue, the schedule, and manual requests (`{"references": […]}`). */
export const handler = (event: unknown, context: Context): Promise<SQSBatchResponse | Started> =>
  observed<SQSBatchResponse | Started>(context, async () => {
    const request = readRequest(event, context.awsRequestId);
    return request.kind === 'batch'
      ? handleResolutions(request.batch, wired(), signalOf(context))
      : start(request, context);
  });

/** Everything that the handler of a batch uses; the simulation has its own. */
export type ResolverPorts = Pick<ReturnType<typeof wired>, 'lanes' | 'maxReceives' | 'archive' | 'config'> & {
  readonly queues: Queues;
  readonly sources: () => Promise<Sources>;
  readonly observe: Observe;
  /** Called for an image that an earlier run has queued. */
  readonly leftOut: (event: ImageEvent) => void;
} & Pick<BatchOptions<ResolveMessage>, 'postpone' | 'requeue' | 'onFailure'>;

export async function handleResolutions(
  event: SQSEvent,
  ports: ResolverPorts,
  signal: AbortSignal,
): Promise<SQSBatchResponse> {
  const { config, queues, maxReceives, postpone, requeue, onFailure } = ports;
  return handleBatch<ResolveMessage>(event, {
    type: 'resolve',
    together: 1,
    maxReceives,
    async handle([delivery], requeues) {
      if (delivery === undefined) return;
      const { receiveCount } = delivery;
      const message = allowed(delivery.message, await config());
      if (message === undefined) {
        const { run, source, repository } = delivery.message;
        log('warn', 'message refused', { run, source, repository, reason: 'no mirror in mirror.yaml matches' });
        return;
      }
      const last = receiveCount >= maxReceives;
      await resolve(await contextOf(ports), message, { receiveCount, last, requeues, signal });
    },
    giveUp: ({ message }, failure) => failImages(queues, message, failure, signal),
    ready: () => contextOf(ports),
    postpone,
    requeue,
    onFailure,
  });
}

async function contextOf(ports: ResolverPorts): Promise<ResolverContext> {
  const { archive, queues, observe: onEvent, leftOut: onLeftOut } = ports;
  const [read, sources] = await Promise.all([ports.config(), ports.sources()]);
  return {
    archive,
    queues,
    sources,
    observe: onEvent,
    now: Date.now,
    lanes: registrySettings(read, ports.lanes).connections,
    // One per message, because functions share no state.
    quota: new Quota(read.limits),
    chooseTags: (order) => tagChoice(read, order),
    isExpected: isUnknownRequest,
    queuedBy: async (event, order, signal) => {
      // A manual request is processed even if an earlier run has queued the image.
      if (event.run.startsWith(BY_HAND)) return undefined;
      const run = await queuedBy(archive, event, order, Date.now(), { signal });
      if (run !== undefined) onLeftOut(event);
      return run;
    },
    pending: async (event, order, signal) => {
      await writeReport(archive, event, Date.now(), { signal });
      await markQueued(archive, event, order, Date.now(), { signal });
    },
  };
}

/** Starts a run: sends its first messages. Repeating it is safe, since the queue drops what it has. */
export async function startRun(
  request: Exclude<Request, { kind: 'batch' }>,
  { config, queues, archive }: Pick<ResolverPorts, 'config' | 'queues' | 'archive'>,
  signal: AbortSignal,
): Promise<RunStart | undefined> {
  const { run, kind } = request;
  let read: Config;
  try {
    read = await config();
  } catch (error) {
    if (kind !== 'schedule' || !(error instanceof MissingConfiguration)) throw error;
    // A deployment may not have its configuration yet; the next scheduled run reads it again.
    log('warn', 'run not started', { run, reason: error.message });
    return undefined;
  }
  const messages = kind === 'schedule' ? ordersOf(read, run) : ordersFor(request.request, read, run);
  await queues.send('resolve', messages, { signal });
  const started = runStartOf(run, kind === 'schedule' ? 'schedule' : 'request', messages, Date.now());
  await writeRunStart(archive, started, { signal });
  return started;
}

async function start(request: Exclude<Request, { kind: 'batch' }>, context: Context): Promise<Started> {
  const { eventBus, ...ports } = wired();
  const { run } = request;
  const started = await startRun(request, ports, signalOf(context));
  if (started === undefined) return { run, messages: 0 };
  const { version: _, run: __, at: ___, ...counts } = started;
  runStarted(run, context.awsRequestId, counts);
  if (eventBus !== undefined) await sendRunStarted(started, eventBus);
  return { run, messages: started.messages };
}
