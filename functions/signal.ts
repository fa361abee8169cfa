import type { Context } from 'aws-lambda';

/** The time for recording a failure after the work was aborted. */
export const RECORDING_MS = 1_500;

/** Aborted shortly before Lambda's timeout, so that the failure is still recorded. */
export function signalOf(context: Context): AbortSignal {
  return AbortSignal.timeout(Math.max(context.getRemainingTimeInMillis() - RECORDING_MS, 0));
}
