/**
 * The difference between the image that a tag named before and the image that it names now. Pure. All texts are
 * untrusted, so texts and lists are bounded: the result has at most 24 KiB of JSON, less than a tenth of an event.
 */
import { defined } from '../core/defined.ts';
import type { Digest } from '../oci/digest.ts';
import { formatPlatform, type Platform } from '../oci/platform.ts';
import type { Layers, Settings } from './parts.ts';
import { type Limits, NARROW, short, shortList, WIDE } from './short.ts';

/** The numbers of layers, or of their bytes. */
export interface Overlap {
  /** Part of both images. */
  readonly shared: number;
  /** Part of the new image only. */
  readonly added: number;
  /** Part of the previous image only. */
  readonly removed: number;
}

/** A value before and after; null where it is missing. */
export interface Change<T> {
  readonly from: T | null;
  readonly to: T | null;
}

/** The difference between the settings of two images. Fields that do not differ are missing. */
export interface SettingsChange {
  /** The platforms with this difference; empty for an image without a platform. */
  readonly platforms: readonly string[];
  readonly user?: Change<string>;
  readonly entrypoint?: Change<readonly string[]>;
  readonly command?: Change<readonly string[]>;
  /** Names of environment variables, without their values. */
  readonly environment?: {
    readonly added: readonly string[];
    readonly removed: readonly string[];
    /** Variables whose values differ. */
    readonly changed: readonly string[];
  };
  readonly labels?: readonly (Change<string> & { readonly name: string })[];
  /** The number of elements that these lists leave out. */
  readonly omitted?: number;
}

export interface Changes {
  /** The times at which the tag began and ceased to name the previous digest: ISO 8601, UTC. */
  readonly from?: string;
  readonly to?: string;
  readonly layers: Overlap;
  /** Missing where a manifest has no sizes (schema 1). */
  readonly bytes?: Overlap;
  readonly platforms: { readonly added: readonly string[]; readonly removed: readonly string[] };
  readonly settings: readonly SettingsChange[];
  /** The parts that could not be compared, each a sentence. */
  readonly notes?: readonly string[];
}

/** The period of the previous digest, from its first observation to that of the next digest, in milliseconds since the epoch. */
export function periodOf(from: number | undefined, to: number): Pick<Changes, 'from' | 'to'> {
  const timeOf = (ms: number): string => new Date(ms).toISOString();
  return defined({ from: from === undefined ? undefined : timeOf(from), to: timeOf(to) });
}

/** One image of a reference: the root, or a child of an index. */
export interface Part {
  readonly platform: Platform | undefined;
  readonly digest: Digest;
}

export interface Pair<P> {
  readonly before: P | undefined;
  readonly after: P | undefined;
}

/** An image that was read; its settings are missing if its config is not that of a container. */
export interface ReadPart extends Part {
  readonly layers: Layers;
  readonly settings: Settings | undefined;
}

/** The pairs of images with the same platform, the complete pairs first. */
export function pairsOf<P extends Part>(before: readonly P[], after: readonly P[]): readonly Pair<P>[] {
  const [old, current] = [before, after].map(byKey) as [Map<string, P>, Map<string, P>];
  const [only] = before;
  const [alone] = after;
  // If neither reference is an index, the two images are compared even if their platforms differ.
  if (before.length === 1 && after.length === 1) return [{ before: only, after: alone }];
  const pairs = [...new Set([...old.keys(), ...current.keys()])].map((key) => ({
    before: old.get(key),
    after: current.get(key),
  }));
  const isWhole = (pair: Pair<P>): boolean => pair.before !== undefined && pair.after !== undefined;
  return [...pairs.filter(isWhole), ...pairs.filter((pair) => !isWhole(pair))];
}

/** The first image of each platform; images without one are numbered. */
function byKey<P extends Part>(parts: readonly P[]): Map<string, P> {
  const found = new Map<string, P>();
  let unnamed = 0;
  for (const part of parts) {
    const key = part.platform === undefined ? `#${(unnamed += 1)}` : keyOf(part.platform);
    if (!found.has(key)) found.set(key, part);
  }
  return found;
}

/** The revision of a Windows build, which is the fourth number of its version, differs between images of one kind. */
function keyOf({ osVersion, ...platform }: Platform): string {
  const build = osVersion?.split('.').slice(0, 3).join('.');
  return formatPlatform(build === undefined ? platform : { ...platform, osVersion: build });
}

/**
 * Compares images.
 *
 * @param pairs all images, for their platforms
 * @param read those of the pairs that were read
 */
export function changesOf(
  pairs: readonly Pair<Part>[],
  read: readonly Pair<ReadPart>[],
  notes: readonly string[],
): Changes {
  const within = (limits: Limits): Changes => ({
    ...overlapsOf(read),
    platforms: platformsOf(pairs, limits),
    settings: settingsOf(read, limits),
    ...(notes.length === 0 ? {} : { notes: shortList(notes, { list: limits.list, text: 2 * limits.text }) }),
  });
  const wide = within(WIDE);
  return fits(wide) ? wide : fitting(within(NARROW));
}

/** Drops the last changes of settings until the others fit. */
function fitting(changes: Changes): Changes {
  const { settings, notes = [] } = changes;
  for (let count = settings.length; count > 0; count -= 1) {
    const note = `${settings.length - count} of ${settings.length} changes of settings are left out`;
    const fewer = { ...changes, settings: settings.slice(0, count), notes: [...notes, note] };
    if (fits(fewer)) return fewer;
  }
  return { ...changes, settings: [], notes: ['the changes of settings are too large to be listed'] };
}

function fits(changes: Changes): boolean {
  return Buffer.byteLength(JSON.stringify(changes)) <= MAX_BYTES;
}

const MAX_BYTES = 24 * 1024;

function overlapsOf(read: readonly Pair<ReadPart>[]): Pick<Changes, 'layers' | 'bytes'> {
  const all = (side: 'before' | 'after'): Layers => new Map(read.flatMap((pair) => [...(pair[side]?.layers ?? [])]));
  const [old, current] = [all('before'), all('after')];
  const groups = {
    shared: [...current].filter(([digest]) => old.has(digest)),
    added: [...current].filter(([digest]) => !old.has(digest)),
    removed: [...old].filter(([digest]) => !current.has(digest)),
  };
  const overlap = (count: (group: readonly (readonly [Digest, number | undefined])[]) => number): Overlap => ({
    shared: count(groups.shared),
    added: count(groups.added),
    removed: count(groups.removed),
  });
  const layers = overlap(({ length }) => length);
  const isSized = [...old.values(), ...current.values()].every((size) => size !== undefined);
  return isSized
    ? { layers, bytes: overlap((group) => group.reduce((sum, [, size = 0]) => sum + size, 0)) }
    : { layers };
}

function platformsOf(pairs: readonly Pair<Part>[], limits: Limits): Changes['platforms'] {
  const names = (side: 'before' | 'after', other: 'before' | 'after'): readonly string[] => {
    const changed = pairs.filter((pair) => {
      const [mine, theirs] = [pair[side]?.platform, pair[other]?.platform];
      return mine !== undefined && (theirs === undefined || keyOf(mine) !== keyOf(theirs));
    });
    const all = changed.flatMap((pair) => pair[side]?.platform ?? []).map((platform) => formatPlatform(platform));
    return shortList(all, limits);
  };
  return { added: names('after', 'before'), removed: names('before', 'after') };
}

/** Platforms that differ in the same way share one element. */
function settingsOf(read: readonly Pair<ReadPart>[], limits: Limits): readonly SettingsChange[] {
  const groups = new Map<
    string,
    { readonly platforms: string[]; readonly change: Omit<SettingsChange, 'platforms'> }
  >();
  for (const { before, after } of read) {
    if (before?.settings === undefined || after?.settings === undefined) continue;
    const change = changeOf(before.settings, after.settings, limits);
    if (Object.keys(change).length === 0) continue;
    const key = JSON.stringify(change);
    const group = groups.get(key) ?? { platforms: [], change };
    groups.set(key, group);
    if (after.platform !== undefined) group.platforms.push(short(formatPlatform(after.platform), limits.text));
  }
  return [...groups.values()].map(({ platforms, change }) => ({ platforms, ...change }));
}

function changeOf(before: Settings, after: Settings, limits: Limits): Omit<SettingsChange, 'platforms'> {
  let omitted = 0;
  const list = (all: readonly string[]): readonly string[] => {
    const shown = shortList(all, limits);
    omitted += all.length - shown.length;
    return shown;
  };
  const words = (
    from: readonly string[] | undefined,
    to: readonly string[] | undefined,
  ): Change<readonly string[]> | undefined =>
    JSON.stringify(from) === JSON.stringify(to)
      ? undefined
      : { from: from === undefined ? null : list(from), to: to === undefined ? null : list(to) };
  const [entrypoint, command] = [words(before.entrypoint, after.entrypoint), words(before.command, after.command)];
  const variables = differing(before.environment, after.environment);
  const names = (isWanted: (change: Change<string>) => boolean): readonly string[] =>
    list(variables.filter(isWanted).map(({ name }) => name));
  const environment = {
    added: names(({ from }) => from === null),
    removed: names(({ to }) => to === null),
    changed: names(({ from, to }) => from !== null && to !== null),
  };
  const text = (value: string | null | undefined): string | null => (value == null ? null : short(value, limits.text));
  const differingLabels = differing(before.labels, after.labels);
  const labels = differingLabels
    .slice(0, limits.list)
    .map(({ name, from, to }) => ({ name: short(name, limits.text), from: text(from), to: text(to) }));
  omitted += differingLabels.length - labels.length;
  return defined({
    user: before.user === after.user ? undefined : { from: text(before.user), to: text(after.user) },
    entrypoint,
    command,
    environment: variables.length === 0 ? undefined : environment,
    labels: labels.length === 0 ? undefined : labels,
    omitted: omitted === 0 ? undefined : omitted,
  });
}

/** The names whose values differ, in their order. */
function differing(
  before: ReadonlyMap<string, string>,
  after: ReadonlyMap<string, string>,
): readonly (Change<string> & { readonly name: string })[] {
  const names = [...new Set([...before.keys(), ...after.keys()])].sort();
  return names
    .map((name) => ({ name, from: before.get(name) ?? null, to: after.get(name) ?? null }))
    .filter(({ from, to }) => from !== to);
}
