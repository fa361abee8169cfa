/** The start of a run: one object beside its reports, so that a run whose images are all unchanged is visible too. */
import type { Archive } from '../archive/archive.ts';
import type { Cancel } from '../store/store.ts';
import { asFailure } from '../core/failure.ts';
import { Place } from '../oci/document.ts';
import type { ResolveMessage } from '../queue/messages.ts';
import { timeOf } from './reports.ts';

export interface RunStart {
  readonly version: 1;
  readonly run: string;
  /** ISO 8601, UTC. */
  readonly at: string;
  readonly by: 'schedule' | 'request';
  /** Messages to the resolver. */
  readonly messages: number;
  /** Repositories of the archive that the run is about. */
  readonly repositories: number;
  /** Images with a tag or digest in the request; the tags of the other repositories are listed upstream. */
  readonly images: number;
}

const MAX_START_BYTES = 4 * 1024;

export function runStartOf(
  run: string,
  by: RunStart['by'],
  messages: readonly { readonly message: ResolveMessage }[],
  now: number,
): RunStart {
  const images = messages.reduce(
    (sum, { message: { what } }) => sum + (what.kind === 'images' ? what.images.length : 0),
    0,
  );
  const repositories = new Set(messages.map(({ message }) => message.repository)).size;
  return { version: 1, run, at: new Date(now).toISOString(), by, messages: messages.length, repositories, images };
}

/** Writes the start of a run; a repeated start keeps the first time. */
export async function writeRunStart(archive: Archive, start: RunStart, options: Cancel = {}): Promise<void> {
  const key = archive.layout.runStart(start.run);
  try {
    await archive.store.put(key, Buffer.from(`${JSON.stringify(start)}\n`), {
      condition: { absent: true },
      contentType: 'application/json',
      signal: options.signal,
    });
  } catch (error) {
    const failure = asFailure(error, `write ${key}`, 'archive');
    if (failure.code !== 'precondition-failed') throw failure;
  }
}

/** The start of a run; undefined if it is not recorded (a run of a notification, or of an earlier release). */
export async function readRunStart(archive: Archive, run: string, options: Cancel = {}): Promise<RunStart | undefined> {
  const key = archive.layout.runStart(run);
  const found = await archive.store.get(key, { maxBytes: MAX_START_BYTES, ...options });
  if (found === undefined) return undefined;
  return startIn(Place.ofBytes(`read ${key}`, found.bytes), run);
}

function startIn(place: Place, run: string): RunStart {
  return {
    version: 1,
    run,
    at: timeOf(place.at('at')),
    by: place.at('by').text() === 'schedule' ? 'schedule' : 'request',
    messages: place.at('messages').size(),
    repositories: place.at('repositories').size(),
    images: place.at('images').size(),
  };
}

/** The start of a run that is not finished, with the ids of its first messages. */
export interface OpenStart extends RunStart {
  readonly ids: readonly string[];
}

/** A configuration of 1,000 mirrors has 1,000 ids of 35 bytes. */
const MAX_OPEN_BYTES = 4 * 1024 * 1024;
const MAX_IDS = 100_000;

/** Marks a run as open; a repeated start replaces the mark. */
export async function writeOpenStart(archive: Archive, start: OpenStart, options: Cancel = {}): Promise<void> {
  const key = archive.layout.openRun(start.run);
  const bytes = Buffer.from(`${JSON.stringify(start)}\n`);
  await archive.store.put(key, bytes, { contentType: 'application/json', signal: options.signal });
}

export async function readOpenStart(
  archive: Archive,
  run: string,
  options: Cancel = {},
): Promise<OpenStart | undefined> {
  const key = archive.layout.openRun(run);
  const found = await archive.store.get(key, { maxBytes: MAX_OPEN_BYTES, ...options });
  if (found === undefined) return undefined;
  const place = Place.ofBytes(`read ${key}`, found.bytes);
  const ids = place.at('ids').list(MAX_IDS);
  return { ...startIn(place, run), ids: ids.map((id) => id.text()) };
}
