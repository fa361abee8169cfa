import type { Failure } from '../base/failure.ts';
import type { FinalizeMessage, RecordedFailure, ResolveMessage, Wanted } from '../queue/messages.ts';
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
