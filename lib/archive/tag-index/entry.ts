/**
 * One entry of a tag index: a descriptor with annotations for its tag, times and platforms. Annotations of other tools
 * are kept.
 */
import { own } from '../../core/own.ts';
import { readDescriptor } from '../../oci/descriptor.ts';
import type { Digest } from '../../oci/digest.ts';
import type { Place } from '../../oci/document.ts';
import { laterCheck, readAwaited } from './awaited.ts';
import { compare, formatPlatforms, grown, type Platforms, provesTheSame, readPlatforms } from './platforms.ts';
import { readTime, tagOrDigest, type Times } from './times.ts';

export const ANNOTATIONS = {
  /** OCI image spec, annotations.md. */
  tag: 'org.opencontainers.image.ref.name',
  /** The last time that upstream named this digest for the tag: ISO 8601, UTC, with milliseconds. */
  observed: 'dev.mirror-sync.observed',
  /** All times at which upstream named this digest for the tag, with commas; missing for a tag with only one. */
  observations: 'dev.mirror-sync.observations',
  /** The former tag of an entry without one. */
  hadTag: 'dev.mirror-sync.tag',
  /** The time of the first observation of that tag with another digest, in the same form. */
  replaced: 'dev.mirror-sync.replaced',
  /** The platforms that its closure was proven for: `all`, or a list with commas. */
  platforms: 'dev.mirror-sync.platforms',
  /** The platforms that it was proven for without their foreign layers, in the same form. */
  skipping: 'dev.mirror-sync.platforms-without-foreign-layers',
  /** The manifest that a referrer refers to. */
  subject: 'dev.mirror-sync.subject',
  /** The last time that upstream was asked for referrers of this image: ISO 8601, UTC, with milliseconds. */
  checked: 'dev.mirror-sync.referrers-checked',
  /** The digests of referrers that this check has ordered, and that the archive lacks, with commas. */
  awaited: 'dev.mirror-sync.referrers-awaited',
  /** The times at which the digest was observed before it was visible, with commas. */
  hidden: 'dev.mirror-sync.held',
  /** The time that a transparency log proves for its signature, in the same form. */
  signed: 'dev.mirror-sync.signed',
  /** Of an attestation by this archive: the id of its key. */
  attestedBy: 'dev.mirror-sync.attested-by',
} as const;

const OURS: ReadonlySet<string> = new Set(Object.values(ANNOTATIONS));

export interface TagEntry {
  readonly tag: string | undefined;
  readonly digest: Digest;
  readonly mediaType: string;
  /** Bytes of the manifest or index. */
  readonly size: number;
  /** Milliseconds since the epoch; 0 where the entry has no time, as those of other tools. */
  readonly observed: number;
  /**
   * All recorded observations in ascending order; the last is `observed`. Of a digest that was requested without a tag,
   * only the first and the last are kept.
   */
  readonly observations: readonly number[];
  /** The platforms with a complete proof; undefined if the entry does not name any. */
  readonly platforms: Platforms | undefined;
  /**
   * The platforms that are proven without their foreign layers. Both sets only grow, so they converge in any order.
   */
  readonly skipping: Platforms | undefined;
  /** The tag that this entry had before the tag moved. */
  readonly hadTag: string | undefined;
  /** When the tag moved, in milliseconds since the epoch. */
  readonly replaced: number | undefined;
  /** The manifest that a referrer refers to: its own statement, or that of cosign's tag. */
  readonly subject: Digest | undefined;
  /** The artifact type of a referrer. */
  readonly artifactType: string | undefined;
  /** The last check for new referrers, in milliseconds since the epoch. */
  readonly checked: number | undefined;
  /** The referrers that this check has ordered, and that the archive lacks. */
  readonly awaited: readonly Digest[];
  /** Observations before the digest was visible under the tag, in ascending order. */
  readonly hidden: readonly number[];
  /** The time that a transparency log proves for its signature, in milliseconds since the epoch. */
  readonly signed: number | undefined;
  /** Of an attestation by this archive: the id of its key. */
  readonly attestedBy: string | undefined;
}

/** An entry with its object in the document. */
export interface StoredEntry extends TagEntry {
  readonly document: Readonly<Record<string, unknown>>;
}

/**
 * An entry whose times were read as others has a document with these times.
 *
 * @throws Failure that names the place
 */
export function readEntry(place: Place, times: Times): StoredEntry {
  const { moved } = times;
  const entry = entryIn(place, times);
  return times.moved === moved ? entry : written(entry);
}

function entryIn(place: Place, clock: Times): StoredEntry {
  const { digest, mediaType, size, artifactType, annotations = {} } = readDescriptor(place);
  const at = place.at('annotations');
  const optional = <T>(name: string, read: (value: Place, text: string) => T): T | undefined => {
    const text = own(annotations, name);
    return text === undefined ? undefined : read(at.entry(name), text);
  };
  const [tag, hadTag] = [own(annotations, ANNOTATIONS.tag), own(annotations, ANNOTATIONS.hadTag)];
  const read = (value: Place, text: string): number => clock.read(value, text, tagOrDigest(tag ?? hadTag, digest));
  const time = (name: string): number | undefined => optional(name, read);
  const times = (name: string): readonly number[] =>
    optional(name, (value, text) =>
      union(
        [],
        text.split(',').map((each) => read(value, each)),
      ),
    ) ?? [];
  const last = time(ANNOTATIONS.observed);
  const observations = union(times(ANNOTATIONS.observations), last === undefined ? [] : [last]);
  return {
    tag,
    digest,
    mediaType,
    size,
    observed: observations.at(-1) ?? 0,
    observations,
    platforms: optional(ANNOTATIONS.platforms, readPlatforms),
    skipping: optional(ANNOTATIONS.skipping, readPlatforms),
    hadTag,
    replaced: time(ANNOTATIONS.replaced),
    subject: optional(ANNOTATIONS.subject, (value) => value.digest()),
    artifactType,
    checked: time(ANNOTATIONS.checked),
    awaited: optional(ANNOTATIONS.awaited, readAwaited) ?? [],
    hidden: times(ANNOTATIONS.hidden),
    // A log has its own clock. A later time than the first observation has no effect.
    signed: optional(ANNOTATIONS.signed, readTime),
    attestedBy: own(annotations, ANNOTATIONS.attestedBy),
    document: place.object(),
  };
}

/** The times as the document lists them. */
export function formatTimes(times: readonly number[]): string {
  return times.map((ms) => new Date(ms).toISOString()).join(',');
}

/** Each time once, in ascending order; `times` itself where `more` adds nothing. */
export function union(times: readonly number[], more: readonly number[]): readonly number[] {
  if (times.length === 0 && more.length < 2) return more;
  const isSorted = times.every((time, at) => at === 0 || (times[at - 1] ?? 0) < time);
  if (isSorted && more.every((time) => times.includes(time))) return times;
  return [...new Set([...times, ...more])].sort((a, b) => a - b);
}

/** The entry with its document. Annotations are sorted by name, so that equal entries give equal bytes. */
export function written(entry: StoredEntry): StoredEntry {
  const { tag, digest, mediaType, size, observed, observations, platforms, skipping, hadTag, replaced, document } =
    entry;
  const { subject, artifactType, checked, awaited, hidden, signed, attestedBy } = entry;
  const isHistory = observations.length > 1 || (hadTag !== undefined && observed !== 0);
  const others = Object.entries((document['annotations'] ?? {}) as Record<string, string>);
  const ours: [name: string, value: string | undefined][] = [
    [ANNOTATIONS.tag, tag],
    [ANNOTATIONS.observed, observed === 0 ? undefined : new Date(observed).toISOString()],
    // An earlier release that observes a digest again keeps this list, and replaces the time above.
    [ANNOTATIONS.observations, isHistory ? formatTimes(observations) : undefined],
    [ANNOTATIONS.hadTag, hadTag],
    [ANNOTATIONS.replaced, replaced === undefined ? undefined : new Date(replaced).toISOString()],
    [ANNOTATIONS.platforms, platforms === undefined ? undefined : formatPlatforms(platforms)],
    [ANNOTATIONS.skipping, skipping === undefined ? undefined : formatPlatforms(skipping)],
    [ANNOTATIONS.subject, subject],
    [ANNOTATIONS.checked, checked === undefined ? undefined : new Date(checked).toISOString()],
    [ANNOTATIONS.awaited, awaited.length === 0 ? undefined : awaited.join()],
    [ANNOTATIONS.hidden, hidden.length === 0 ? undefined : formatTimes(hidden)],
    [ANNOTATIONS.signed, signed === undefined ? undefined : formatTimes([signed])],
    [ANNOTATIONS.attestedBy, attestedBy],
  ];
  const annotations = [...others.filter(([name]) => !OURS.has(name)), ...ours]
    .filter(([, value]) => value !== undefined)
    .sort(([a], [b]) => compare(a, b));
  const type = artifactType === undefined ? {} : { artifactType };
  const fields = { mediaType, digest, size, ...type, annotations: Object.fromEntries(annotations) };
  return { ...entry, document: { ...document, ...fields } };
}

/** The union of two entries of one digest; `entry` itself where `other` adds nothing. */
export function merged(entry: StoredEntry, other: TagEntry): StoredEntry {
  const all = union(entry.observations, other.observations);
  // Only tags have a history.
  const observations =
    entry.tag === undefined && entry.hadTag === undefined && all.length > 2
      ? [...all.slice(0, 1), ...all.slice(-1)]
      : all;
  const observed = observations.at(-1) ?? 0;
  const platforms = grown(entry.platforms, other.platforms);
  const skipping = grown(entry.skipping, other.skipping);
  const signed = Math.min(entry.signed ?? Infinity, other.signed ?? Infinity);
  const hidden = union(entry.hidden, other.hidden).filter((at) => at < (observations[0] ?? Infinity));
  const times = { observed, observations, hidden, signed: signed === Infinity ? undefined : signed };
  const both = { ...entry, ...times, platforms, skipping, ...referring(entry, other) };
  const isKnown =
    observations.join() === entry.observations.join() &&
    hidden.join() === entry.hidden.join() &&
    times.signed === entry.signed &&
    refersTheSame(entry, both);
  return isKnown && provesTheSame(entry, both) ? entry : written(both);
}

type Referring = Pick<TagEntry, 'subject' | 'artifactType' | 'checked' | 'awaited' | 'attestedBy'>;

/** The union of two entries: a known subject is kept, and the last check counts. */
function referring(entry: Referring, other: Referring): Referring {
  const { checked, awaited } = laterCheck(entry, other);
  return {
    subject: entry.subject ?? other.subject,
    artifactType: entry.artifactType ?? other.artifactType,
    attestedBy: entry.attestedBy ?? other.attestedBy,
    checked,
    awaited,
  };
}

function refersTheSame(entry: Referring, other: Referring): boolean {
  const isSameCheck = entry.checked === other.checked && entry.awaited.join() === other.awaited.join();
  return isSameCheck && (['subject', 'artifactType', 'attestedBy'] as const).every((key) => entry[key] === other[key]);
}
