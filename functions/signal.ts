import type { Context } from 'aws-lambda';

/** What is left for telling what happened, once the work is stopped, in milliseconds. */
const TELLING_MS = 1_500;

/** Aborted shortly before Lambda would end the sandbox: a failure that is told beats one that is not. */
export function signalOf(context: Context): AbortSignal {
  return AbortSignal.timeout(Math.max(context.getRemainingTimeInMillis() - TELLING_MS, 0));
}
