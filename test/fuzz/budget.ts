/**
 * How many cases a fuzz test draws, and from which seed. 10,000 unless MIRROR_SYNC_FUZZ_CASES says otherwise; a failure
 * prints the seed, and MIRROR_SYNC_FUZZ_SEED draws the same cases again.
 */
import type { Parameters } from 'fast-check';

const DEFAULT_CASES = 10_000;

/** The tests draw the same cases each time; another seed draws others. */
const DEFAULT_SEED = 20_261_127;

export const CASES = wholeNumber('MIRROR_SYNC_FUZZ_CASES') ?? DEFAULT_CASES;

/** Milliseconds for a test that draws `CASES`: only a hang exceeds them. */
export const HANG_MS = 60_000 + CASES * 60;

export function budget<T>(): Parameters<T> {
  const seed = wholeNumber('MIRROR_SYNC_FUZZ_SEED') ?? DEFAULT_SEED;
  return { numRuns: CASES, seed };
}

function wholeNumber(name: string): number | undefined {
  const text = process.env[name] ?? '';
  if (text === '') return undefined;
  if (!/^\d{1,9}$/.test(text)) throw new Error(`${name}: expected a whole number, got "${text}"`);
  return Number(text);
}
