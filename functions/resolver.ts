import type { Context, SQSBatchResponse } from 'aws-lambda';
import { readEnvironment } from '../lib/config/environment.ts';
import { configFrom, once, openArchive, openQueues } from './aws.ts';
import { sendRunStarted } from './event-bus.ts';
import { handleResolutions } from './handlers/resolutions.ts';
import { startRun } from './handlers/start-run.ts';
import { queuePorts } from './redelivery.ts';
import { readRequest, type StartRequest } from './request.ts';
import { signalOf } from './signal.ts';
import { sourcesFrom } from './sources.ts';
import { leftOut, observe, observed, onRetry, runStarted } from './telemetry.ts';
import { trustedRootFrom } from './trusted-root.ts';

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
  return {
    config,
    trustedRoot: trustedRootFrom(env.config, config),
    archive: openArchive(env.archive),
    eventBus: env.eventBus,
    queues: openQueues({ resolve: resolveQueue, layer: layerQueue, finalize: finalizeQueue }),
    sources: sourcesFrom(config, env.credentialsSecret, { lanes, onRetry }),
    lanes,
    ...queuePorts(resolveQueue, env.maxReceives),
    observe,
    leftOut,
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

async function start(request: StartRequest, context: Context): Promise<Started> {
  const { eventBus, ...ports } = wired();
  const { run } = request;
  const signal = signalOf(context);
  const started = await startRun(request, ports, signal);
  if (started === undefined) return { run, messages: 0 };
  const { version: _, run: __, at: ___, ...counts } = started;
  runStarted(run, context.awsRequestId, counts);
  if (eventBus !== undefined) await sendRunStarted(started, eventBus, { signal });
  return { run, messages: started.messages };
}
