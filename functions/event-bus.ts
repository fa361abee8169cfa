import { EventBridgeClient, PutEventsCommand } from '@aws-sdk/client-eventbridge';
import { SMALL_REQUESTS } from '../lib/app/aws-requests.ts';
import { asFailure, Failure } from '../lib/core/failure.ts';
import type { Cancel } from '../lib/store/store.ts';
import type { ImageEvent } from '../lib/sync/events.ts';
import { isNotable, type RunSummary } from '../lib/sync/run/summary.ts';
import type { RunStart } from '../lib/sync/runs.ts';
import { once } from './aws.ts';
import { log } from './telemetry.ts';

const bridge = once(() => new EventBridgeClient(SMALL_REQUESTS));

const DETAIL_TYPES: Readonly<Record<ImageEvent['status'], string>> = {
  pending: 'Image Mirrored',
  mirrored: 'Image Mirrored',
  unchanged: 'Image Mirrored',
  held: 'Image Held',
  unverified: 'Image Unverified',
  drifted: 'Image Drifted',
  rejected: 'Image Rejected',
  failed: 'Image Failed',
};

export type PublishImage = (event: ImageEvent, options?: Cancel) => Promise<void>;

/** Sends the events of images to a bus; undefined without a bus. */
export function eventsTo(eventBus: string | undefined): PublishImage | undefined {
  if (eventBus === undefined) return undefined;
  return ({ type: _, referrer: __, ...detail }, options) => put(eventBus, DETAIL_TYPES[detail.status], detail, options);
}

/** Sends the event of a run's start. A failure is only logged. */
export async function sendRunStarted(
  { version: _, ...start }: RunStart,
  eventBus: string,
  options: Cancel,
): Promise<void> {
  try {
    await put(eventBus, 'Run Started', start, options);
  } catch (error) {
    log('error', 'event not sent', { run: start.run, eventBus, reason: String(error) });
  }
}

/** Sends the event of a finished run. Rules for notifications match `notable`. */
export async function sendRunFinished(summary: RunSummary, eventBus: string, options: Cancel): Promise<void> {
  const { version: _, delivered: __, ...detail } = summary;
  await put(eventBus, 'Run Finished', { ...detail, notable: isNotable(summary) }, options);
}

async function put(eventBus: string, DetailType: string, detail: object, { signal }: Cancel = {}): Promise<void> {
  // Several deployments may share a bus; their rules match the service.
  const Detail = JSON.stringify({ service: process.env['POWERTOOLS_SERVICE_NAME'], ...detail });
  const entry = { EventBusName: eventBus, Source: 'mirror-sync', DetailType, Detail };
  const { FailedEntryCount = 0, Entries = [] } = await bridge()
    .send(new PutEventsCommand({ Entries: [entry] }), signal === undefined ? {} : { abortSignal: signal })
    .catch((error: unknown) => {
      throw asFailure(error, `send event to ${eventBus}`, 'archive');
    });
  if (FailedEntryCount === 0) return;
  throw new Failure({
    operation: `send event to ${eventBus}`,
    side: 'archive',
    code: 'unavailable',
    detail: `${Entries[0]?.ErrorCode ?? ''}: ${Entries[0]?.ErrorMessage ?? 'no message'}`,
  });
}
