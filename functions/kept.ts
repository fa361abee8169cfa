import { asFailure, Failure } from '../lib/core/failure.ts';
import { unlessAborted } from '../lib/core/unless-aborted.ts';

/** The time after which a configuration or a secret is read again. */
const KEPT_MS = 60_000;

/** The time of one read. The shortest timeout of a function, 15 s, is enough for a secret, a configuration and the work. */
const READ_MS = 5_000;

export interface KeptOptions<T> {
  /** `read secret ARN`, in failures. */
  readonly operation: string;
  readonly read: (signal: AbortSignal) => Promise<string>;
  /** Called for a text that differs from the last valid one. */
  readonly parse: (text: string) => T | Promise<T>;
  /** Reports a text that cannot be read or parsed; `keptLast` if the last valid value stays in use. */
  readonly onRefused: (failure: Failure, keptLast: boolean) => void;
  /** Milliseconds since the epoch. */
  readonly now?: () => number;
  /** Ends one read. */
  readonly limit?: () => AbortSignal;
}

/** The configuration does not exist. An invalid one is an ordinary failure. */
export class MissingConfiguration extends Failure {}

interface Last<T> {
  readonly text: string;
  readonly value: T;
  /** Milliseconds since the epoch. */
  readonly until: number;
}

/**
 * Caches a value for one minute. The last valid value stays in use while a new one cannot be parsed or read in time, so that
 * neither a typo nor a service without responses interrupts the work. Without a valid value the failure is thrown, and the
 * next caller reads again.
 */
export function kept<T>(options: KeptOptions<T>): () => Promise<T> {
  const { operation, parse, onRefused, now = Date.now } = options;
  let last: Last<T> | undefined;
  let reading: Promise<T> | undefined;
  const refresh = async (): Promise<T> => {
    const until = now() + KEPT_MS;
    try {
      const text = await inTime(options);
      // An unchanged text keeps its value, so that callers can keep what they derived from it.
      last = last?.text === text ? { ...last, until } : { text, value: await parse(text), until };
    } catch (error) {
      const failure = asFailure(error, operation, 'archive');
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

async function inTime({
  operation,
  read,
  limit = () => AbortSignal.timeout(READ_MS),
}: Pick<KeptOptions<unknown>, 'operation' | 'read' | 'limit'>): Promise<string> {
  const signal = limit();
  try {
    return await unlessAborted(read(signal), signal);
  } catch (error) {
    if (!signal.aborted) throw error;
    const detail = `no response within ${READ_MS / 1000} s`;
    throw new Failure({ operation, side: 'archive', code: 'timeout', detail });
  }
}
