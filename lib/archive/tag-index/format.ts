/**
 * The version of the tag index's format, in an annotation of the document. A document without one has the format 1.0. A
 * release reads every format of its own major version, and writes only formats that it knows.
 */
import { Failure } from '../../core/failure.ts';
import type { Place } from '../../oci/document.ts';
import { formatTimes, readTime, union } from './entry.ts';

const FORMAT = 'dev.mirror-sync.format';
/**
 * Observations of digests that a repair removed, as `TAG@TIME` with commas, so that the history names no other digest
 * for these times.
 */
const REMOVED = 'dev.mirror-sync.removed';

/** The time of the last repair. No code reads it; it only gives the index another version. */
const REPAIRED = 'dev.mirror-sync.repaired';

/** 1.2 is 1.1 with the property of control.ts; an index without the property stays at 1.1. */
const [MAJOR, MINOR] = [1, 2] as const;

/** Observation times of removed digests, by tag. */
export type Removed = ReadonlyMap<string, readonly number[]>;

type Document = Readonly<Record<string, unknown>>;

/**
 * @throws Failure `unsupported` for a format of a newer major version
 */
export function readFormat(document: Place, name: string): { readonly isNewer: boolean } {
  const place = annotationOf(document, FORMAT);
  if (place === undefined) return { isNewer: false };
  const [, major, minor] = /^(\d{1,6})\.(\d{1,6})$/.exec(place.text()) ?? [];
  if (major === undefined) throw place.fail('is not a format version, such as 1.1');
  if (Number(major) > MAJOR) throw newer('read', name, place.text());
  return { isNewer: Number(major) === MAJOR && Number(minor) > MINOR };
}

/** @throws Failure that names the place */
export function readRemoved(document: Place, now: number): Removed {
  const removed = new Map<string, readonly number[]>();
  const place = annotationOf(document, REMOVED);
  if (place === undefined) return removed;
  for (const text of place.text().split(',')) {
    const at = text.indexOf('@');
    if (at < 1) throw place.fail('is not a list of TAG@TIME');
    const tag = text.slice(0, at);
    removed.set(tag, union(removed.get(tag) ?? [], [readTime(place, text.slice(at + 1), now)]));
  }
  return removed;
}

function annotationOf(document: Place, name: string): Place | undefined {
  const annotations = document.at('annotations');
  const place = annotations.given ? annotations.entry(name) : undefined;
  return place?.given === true ? place : undefined;
}

/** The document, without its manifests, in the format of this release. */
export function inThisFormat(document: Document, removed: Removed, hasControl = false): Document {
  const list = [...removed]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .flatMap(([tag, times]) => times.map((time) => `${tag}@${formatTimes([time])}`))
    .join(',');
  const others = (document['annotations'] ?? {}) as Readonly<Record<string, string>>;
  const annotations = {
    ...others,
    [FORMAT]: `${MAJOR}.${hasControl ? MINOR : MINOR - 1}`,
    ...(list === '' ? {} : { [REMOVED]: list }),
  };
  return { ...document, annotations };
}

/** The document with the time of a repair, which differs from that of each earlier one. */
export function repairedAt(document: Document, now: number): Document {
  const annotations = (document['annotations'] ?? {}) as Readonly<Record<string, string>>;
  const last = Date.parse(annotations[REPAIRED] ?? '');
  const at = new Date(Number.isNaN(last) ? now : Math.max(now, last + 1)).toISOString();
  return { ...document, annotations: { ...annotations, [REPAIRED]: at } };
}

/** @throws Failure: a write would lose what only a newer release understands */
export function newer(verb: 'read' | 'write', name: string, format: string): Failure {
  const known = verb === 'read' ? `${MAJOR}.x` : `formats up to ${MAJOR}.${MINOR}`;
  const detail = `a newer release wrote it (expected ${known}, got ${format}); update mirror-sync`;
  return new Failure({ operation: `${verb} tag index ${name}`, side: 'archive', code: 'unsupported', detail });
}

/** The format that the document names. */
export function formatOf(document: Document): string {
  return ((document['annotations'] ?? {}) as Readonly<Record<string, string>>)[FORMAT] ?? '1.0';
}
