/**
 * Records which run has queued an image. A later run skips an image that is still pending in an earlier run, so that a
 * first sync that takes longer than the schedule's period is not queued again and again.
 */
import type { Archive } from '../../archive/archive.ts';
import type { Cancel } from '../../store/store.ts';
import { Failure } from '../../core/failure.ts';
import { Place } from '../../oci/document.ts';
import type { Order, Scope } from '../../queue/messages.ts';
import type { ImageEvent } from '../events.ts';
import { findReport } from '../reports.ts';

/** An image that has been pending for longer is queued again, since its messages may be lost. In milliseconds. */
const BELIEVED_MS = 24 * 60 * 60_000;

const MAX_BYTES = 16 * 1024;

/** Records that the run of an event has queued its image. One PUT per incomplete image. */
export async function markQueued(
  archive: Archive,
  event: ImageEvent,
  order: Order,
  now: number,
  options: Cancel = {},
): Promise<void> {
  const { run, digest } = event;
  const text = JSON.stringify({ version: 1, run, digest, scope: scopeOf(order), at: new Date(now).toISOString() });
  const bytes = Buffer.from(`${text}\n`);
  await archive.store.put(keyOf(archive, event), bytes, { contentType: 'application/json', signal: options.signal });
}

/**
 * The earlier run in which this image is pending, in the same scope, for less than a day. Costs two GETs, and none for
 * an unchanged image.
 */
export async function queuedBy(
  archive: Archive,
  event: ImageEvent,
  order: Order,
  now: number,
  options: Cancel = {},
): Promise<string | undefined> {
  const found = await archive.store.get(keyOf(archive, event), { maxBytes: MAX_BYTES, ...options });
  if (found === undefined) return undefined;
  const mark = readMark(found.bytes);
  if (mark === undefined || mark.run === event.run || mark.digest !== event.digest) return undefined;
  if (mark.scope !== scopeOf(order) || !(now - mark.at < BELIEVED_MS)) return undefined;
  const { report } = await findReport(archive, { ...event, run: mark.run }, options);
  return report?.status === 'pending' && report.digest === event.digest ? mark.run : undefined;
}

/** If the mark is unreadable, the image is queued again, which only repeats work. */
function readMark(bytes: Uint8Array): { run: string; digest: string; scope: string; at: number } | undefined {
  try {
    const place = Place.ofBytes('read mark', bytes);
    const text = (key: string): string => place.at(key).text();
    const run = text('run');
    if (!/^[A-Za-z0-9-]{1,128}$/.test(run)) return undefined;
    return { run, digest: text('digest'), scope: text('scope'), at: Date.parse(text('at')) };
  } catch (error) {
    if (error instanceof Failure) return undefined;
    throw error;
  }
}

/** The settings of an order that determine the mirrored part of an image. */
function scopeOf({ platforms, foreignLayers, strictMediaTypes }: Scope): string {
  return JSON.stringify({ platforms, foreignLayers, strictMediaTypes });
}

function keyOf({ layout }: Archive, { repository, reference }: ImageEvent): string {
  return layout.queuedImage(`${repository} ${reference}`);
}
