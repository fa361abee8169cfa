/** The platforms that an entry of a tag index is proven for. Both of its sets only grow, so they converge in any order. */
import { Failure } from '../../core/failure.ts';
import type { Place } from '../../oci/document.ts';
import { formatPlatform, parsePlatform, type Platform } from '../../oci/platform.ts';

/** Which children of an index are mirrored. */
export type Platforms = 'all' | readonly Platform[];

/**
 * The part of an image that is mirrored: which children of an index, and whether layers that may not be distributed are
 * included.
 */
export interface Scope {
  readonly platforms: Platforms;
  readonly foreignLayers?: 'skip';
}

interface Proven {
  readonly platforms: Platforms | undefined;
  readonly skipping: Platforms | undefined;
}

/** Whether an entry proves the same before and after a merge. */
export function provesTheSame(entry: Proven, later: Proven): boolean {
  return entry.platforms === later.platforms && entry.skipping === later.skipping;
}

export function grown(proven: Platforms | undefined, more: Platforms | undefined): Platforms | undefined {
  return more === undefined || isWithin(more, proven) ? proven : unionOf(proven ?? [], more);
}

/** Whether an entry is proven for the wanted scope. */
export function covers(entry: Proven, { platforms, foreignLayers }: Scope): boolean {
  return isWithin(platforms, foreignLayers === 'skip' ? provenPlatforms(entry) : entry.platforms);
}

/** Whether an entry is proven for everything that another entry is. */
export function coversAll(entry: Proven, other: Proven): boolean {
  return isWithin(other.platforms ?? [], entry.platforms) && isWithin(other.skipping ?? [], provenPlatforms(entry));
}

/** The proven platforms, with or without foreign layers; undefined if the entry names none. */
export function provenPlatforms({ platforms, skipping }: Proven): Platforms | undefined {
  return platforms === undefined || skipping === undefined ? (platforms ?? skipping) : unionOf(platforms, skipping);
}

/** The scopes that an entry is proven for; everything if it names none. */
export function scopesOf({ platforms, skipping }: Proven): readonly [Scope, ...Scope[]] {
  if (skipping === undefined) return [{ platforms: platforms ?? 'all' }];
  const without: Scope = { platforms: skipping, foreignLayers: 'skip' };
  if (platforms === undefined) return [without];
  return isWithin(skipping, platforms) ? [{ platforms }] : [{ platforms }, without];
}

export function isWithin(wanted: Platforms, proven: Platforms | undefined): boolean {
  if (proven === undefined) return false;
  if (proven === 'all') return true;
  if (wanted === 'all') return false;
  const names = new Set(proven.map(formatPlatform));
  return wanted.every((platform) => names.has(formatPlatform(platform)));
}

/** Each platform once, in the order of their names. */
export function unionOf(a: Platforms, b: Platforms): Platforms {
  if (a === 'all' || b === 'all') return 'all';
  const byName = new Map([...a, ...b].map((platform) => [formatPlatform(platform), platform]));
  return [...byName].sort(([x], [y]) => compare(x, y)).map(([, platform]) => platform);
}

/** A formatted platform contains no comma: it is escaped. */
export function formatPlatforms(platforms: Platforms): string {
  return platforms === 'all' ? 'all' : platforms.map(formatPlatform).join(',');
}

export function readPlatforms(place: Place, text: string): Platforms {
  if (text === 'all') return 'all';
  try {
    return text.split(',').map(parsePlatform);
  } catch (error) {
    throw error instanceof Failure ? place.fail(error.message) : error;
  }
}

/** The order of code units, which is the same everywhere. */
export function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
