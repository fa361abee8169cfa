/**
 * The version of the tag index's format, in an annotation of the document. A document without one has the format 1.0. A
 * release reads every format of its own major version, and writes only formats that it knows.
 */
import { Failure } from '../../core/failure.ts';
import type { Place } from '../../oci/document.ts';
import { formatTimes, union } from './entry.ts';
import type { PresentTimes, Times } from './times.ts';

const FORMAT = 'dev.mirror-sync.format';
/**
 * Observations of digests that a repair or a rejection removed, as `TAG@TIME` with commas, so that the history names no other digest
 * for these times.
 */
const REMOVED = 'dev.mirror-sync.removed';

/**
 * The observations of `REMOVED` that a rejection has removed, in the same form. Only the history reads it; a release that does not
 * know it keeps it.
 */
const REJECTED = 'dev.mirror-sync.rejected';

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
export function readRemoved(document: Place, times: Times): Removed {
  const removed = new Map<string, readonly number[]>();
  const place = annotationOf(document, REMOVED);
  if (place === undefined) return removed;
  for (const text of place.text().split(',')) {
    const at = text.indexOf('@');
    if (at < 1) throw place.fail('is not a list of TAG@TIME');
    const tag = text.slice(0, at);
    removed.set(tag, union(removed.get(tag) ?? [], [times.read(place, text.slice(at + 1), `tag ${tag}`)]));
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
  const list = namesOf([...removed].sort(([a], [b]) => (a < b ? -1 : 1))).join(',');
  const annotations = {
    ...annotationsOf(document),
    [FORMAT]: `${MAJOR}.${hasControl ? MINOR : MINOR - 1}`,
    ...(list === '' ? {} : { [REMOVED]: list }),
  };
  return { ...document, annotations };
}

/** The document with the observations that a rejection removes. */
export function withRejected(document: Document, removed: Removed): Document {
  const list = [...new Set([...rejectedIn(document), ...namesOf(removed)])].sort().join(',');
  return list === '' ? document : { ...document, annotations: { ...annotationsOf(document), [REJECTED]: list } };
}

/** The document with the present for each time of `REJECTED` in the future. */
export function withPresentRejected(document: Document, times: PresentTimes): Document {
  const rejected = [...rejectedIn(document)].map((name) => {
    const at = name.indexOf('@');
    const present = times.presentOf(Date.parse(name.slice(at + 1)));
    return at < 1 || present === undefined ? name : nameOf(name.slice(0, at), present);
  });
  const annotations = { ...annotationsOf(document), [REJECTED]: rejected.sort().join(',') };
  return rejected.length === 0 ? document : { ...document, annotations };
}

/** The observations that rejections have removed, each as `nameOf` gives it. */
export function rejectedIn(document: Document): ReadonlySet<string> {
  const text: unknown = annotationsOf(document)[REJECTED];
  return new Set(typeof text === 'string' && text !== '' ? text.split(',') : []);
}

/** An observation: `TAG@TIME`. */
export function nameOf(tag: string, time: number): string {
  return `${tag}@${formatTimes([time])}`;
}

function namesOf(removed: Iterable<readonly [string, readonly number[]]>): readonly string[] {
  return [...removed].flatMap(([tag, times]) => times.map((time) => nameOf(tag, time)));
}

function annotationsOf(document: Document): Readonly<Record<string, string>> {
  return (document['annotations'] ?? {}) as Readonly<Record<string, string>>;
}

/** The document with the time of a repair, which differs from that of each earlier one. */
export function repairedAt(document: Document, now: number): Document {
  const annotations = annotationsOf(document);
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
  return annotationsOf(document)[FORMAT] ?? '1.0';
}
