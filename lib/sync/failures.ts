import { Failure } from '../core/failure.ts';
import type { FinalizeMessage, LayerMessage, RecordedFailure, ResolveMessage, Wanted } from '../queue/messages.ts';
import { type ImageEvent, imageName } from './events.ts';

/** Converts a failure to the form of an image's record. */
export function recorded(failure: Failure): RecordedFailure {
  return { code: failure.code, reason: failure.message };
}

/** The final state of every image of a message that could not be handled. */
export function failedImages(message: ResolveMessage | FinalizeMessage, failure: Failure): ImageEvent[] {
  return namesIn(message).map((image) => ({
    type: 'image',
    status: 'failed',
    ...imageName(message, image),
    ...recorded(failure),
  }));
}

/** The images of a message; the repository alone, without tag or digest, where the message asks for a list of tags. */
export function namesIn(message: ResolveMessage | FinalizeMessage): readonly Wanted[] {
  // The next run repeats the checks for referrers.
  if (message.type === 'finalize') return message.checks === undefined && !isEnd(message) ? [message.image] : [];
  const { what } = message;
  if (what.kind === 'images') return what.images;
  return what.kind === 'list' ? [{}] : [];
}

/** The next completed run ends the first one again. */
function isEnd({ change }: FinalizeMessage): boolean {
  return change !== undefined && 'completed' in change;
}

/** The parts that were stored before did not belong to the blob. */
export function resumedWrong(message: LayerMessage): Failure {
  return new Failure({
    operation: `verify blob ${message.blob.digest} of ${message.source}`,
    side: 'archive',
    code: 'digest-mismatch-resumed',
    detail: 'the bytes of the resumed upload do not match the digest; they were deleted',
  });
}

/** The object matches its digest, and the descriptor is wrong. */
export function wrongSize(message: LayerMessage, size: number): Failure {
  return new Failure({
    operation: `verify blob ${message.blob.digest} of ${message.source}`,
    side: 'source',
    code: 'size-mismatch',
    detail: `expected ${message.blob.size} bytes, got ${size}`,
  });
}

/** A failure that a retry cannot fix; `detail` contains the remedy. */
export function tooSlow(message: LayerMessage, side: Failure['side'], detail: string): Failure {
  const operation = `${side === 'archive' ? 'verify' : 'copy'} blob ${message.blob.digest} of ${message.source}`;
  return new Failure({ operation, side, code: 'timeout', remedy: 'never', detail });
}
