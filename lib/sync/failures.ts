import { Failure } from '../core/failure.ts';
import type { FinalizeMessage, LayerMessage, RecordedFailure, ResolveMessage, Wanted } from '../queue/messages.ts';
import { type ImageEvent, imageName } from './events.ts';

/** What the record of an image says of a failure. */
export function recorded(failure: Failure): RecordedFailure {
  return { code: failure.code, reason: failure.message };
}

/** The last word on every image that a message speaks of, where nobody could handle it. */
export function failedImages(message: ResolveMessage | FinalizeMessage, failure: Failure): ImageEvent[] {
  return namesIn(message).map((image) => ({
    type: 'image',
    status: 'failed',
    ...imageName(message, image),
    ...recorded(failure),
  }));
}

/** The images that a message speaks of; the repository alone, without tag or digest, where it asks for a list of tags. */
export function namesIn(message: ResolveMessage | FinalizeMessage): readonly Wanted[] {
  if (message.type === 'finalize') return [message.image];
  return message.what.kind === 'list' ? [{}] : message.what.images;
}

/** Parts that landed before were not the blob's. */
export function resumedWrong(message: LayerMessage): Failure {
  return new Failure({
    operation: `verify blob ${message.blob.digest} of ${message.source}`,
    side: 'archive',
    code: 'digest-mismatch-resumed',
    detail: 'what was put together from a resumed upload is not what was named; it was deleted',
  });
}

/** The object is what it is named; it is the descriptor that is wrong. */
export function wrongSize(message: LayerMessage, size: number): Failure {
  return new Failure({
    operation: `verify blob ${message.blob.digest} of ${message.source}`,
    side: 'source',
    code: 'size-mismatch',
    detail: `it has ${size} bytes, its descriptor says ${message.blob.size}`,
  });
}

/** What more of the same would not mend; the remedy stands in `detail`. */
export function tooSlow(message: LayerMessage, side: Failure['side'], detail: string): Failure {
  const operation = `${side === 'archive' ? 'verify' : 'copy'} blob ${message.blob.digest} of ${message.source}`;
  return new Failure({ operation, side, code: 'timeout', remedy: 'never', detail });
}
