/**
 * The referrers that a check has found and ordered, and that the archive still lacks. An image is checked again while
 * it awaits one, so that a check that is recorded loses no referrer. Pure.
 */
import { isDigest, type Digest } from '../../oci/digest.ts';
import type { Place } from '../../oci/document.ts';

/**
 * Missing referrers that an entry names. A check that finds more of them is not recorded, so the next run checks the image
 * again.
 */
export const MAX_AWAITED = 32;

/** The result of the last check. */
export interface LastCheck {
  /** Milliseconds since the epoch. */
  readonly checked: number | undefined;
  readonly awaited: readonly Digest[];
}

/** @throws Failure that names the place */
export function readAwaited(place: Place): readonly Digest[] {
  return place
    .text()
    .split(',')
    .map((text) => {
      if (!isDigest(text)) throw place.fail('is not a list of digests');
      return text;
    });
}

/** The later of two checks; of two at the same time, both. */
export function laterCheck(a: LastCheck, b: LastCheck): LastCheck {
  const [first = 0, second = 0] = [a.checked, b.checked];
  if (first !== second) return first > second ? a : b;
  return { checked: a.checked, awaited: a.awaited.length === 0 ? b.awaited : sorted([...a.awaited, ...b.awaited]) };
}

export function sorted(digests: readonly Digest[]): readonly Digest[] {
  return [...new Set(digests)].sort();
}
