import { asFailure, Failure } from '../lib/core/failure.ts';

/** How long a configuration or a secret stays in use before it is read again, in milliseconds. */
const KEPT_MS = 60_000;

export interface KeptOptions<T> {
  readonly read: () => Promise<string>;
  /** Called for a text that differs from the last good one. */
  readonly parse: (text: string) => T;
  /** Reports a text that cannot be read or parsed; `keptLast` where the last good value stays in use. */
  readonly onRefused: (failure: Failure, keptLast: boolean) => void;
  /** Milliseconds since the epoch. */
  readonly now?: () => number;
}

/** The configuration does not exist (yet). A broken one is an ordinary failure. */
export class MissingConfiguration extends Failure {}

interface Last<T> {
  readonly text: string;
  readonly value: T;
  /** Milliseconds since the epoch. */
  readonly until: number;
}

/**
 * Reads a value and uses it for a minute. The last good value stays in use while a new one cannot be read or parsed, so
 * that a typo stops no work. Without a last good value the failure is thrown, and the next caller reads again.
 */
export function kept<T>(options: KeptOptions<T>): () => Promise<T> {
  const { read, parse, onRefused, now = Date.now } = options;
  let last: Last<T> | undefined;
  let reading: Promise<T> | undefined;
  const refresh = async (): Promise<T> => {
    const until = now() + KEPT_MS;
    try {
      const text = await read();
      // The same text keeps the same value, so that what was made of it can be kept too.
      last = last?.text === text ? { ...last, until } : { text, value: parse(text), until };
    } catch (error) {
      const failure = asFailure(error, 'read configuration', 'archive');
      onRefused(failure, last !== undefined);
      if (last === undefined) throw failure;
      last = { ...last, until };
    } finally {
      reading = undefined;
    }
    return last.value;
  };
  return async () => {
    if (reading !== undefined) return reading;
    if (last !== undefined && now() < last.until) return last.value;
    reading = refresh();
    return reading;
  };
}
