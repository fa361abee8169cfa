import type { Failure } from '../base/failure.ts';
import type { RecordedFailure } from '../queue/messages.ts';

/** What the record of an image says of a failure. */
export function recorded(failure: Failure): RecordedFailure {
  return { code: failure.code, reason: failure.message };
}
