/**
 * The minimum age of a digest under a tag. Pure: the same observations give the same decision, in whatever order they are
 * recorded.
 */
import type { Policy } from './policy.ts';
import { smallest } from '../core/extremes.ts';

/**
 * The end of the first completed run of a repository in milliseconds since the epoch; `open` before that. Undefined for
 * a repository that had images before its first policy.
 */
export type Initial = 'open' | number | undefined;

/** The times of a digest under one tag, in milliseconds since the epoch. */
export interface Sightings {
  /** All observations. */
  readonly observations: readonly number[];
  /** The time that a transparency log proves for its signature. */
  readonly signed?: number | undefined;
  /** The time at which a person released it. */
  readonly released?: number | undefined;
}

/** The time before which a digest is not visible; 0 for a digest without a minimum age. */
export function heldUntil({ minimumAgeMs, initial: choice }: Policy, initial: Initial, sightings: Sightings): number {
  const { observations, signed = Infinity, released = Infinity } = sightings;
  const first = smallest(observations);
  const isInitial = choice === 'accept' && initial !== undefined && (initial === 'open' || first <= initial);
  if (minimumAgeMs === 0 || isInitial) return 0;
  return Math.min(Math.min(first, signed) + minimumAgeMs, released);
}
