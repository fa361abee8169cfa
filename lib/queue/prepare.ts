import { asFailure, Failure, invalid } from '../core/failure.ts';
import { MAX_ID_LENGTH } from './lanes.ts';
import type { Message } from './messages.ts';
import { parseMessage, serialise } from './parse.ts';
import type { Outgoing, QueueName } from './queue.ts';

/** SQS's characters of MessageGroupId and MessageDeduplicationId: letters, digits and ASCII punctuation. */
const ID = new RegExp(`^[\\x21-\\x7e]{1,${MAX_ID_LENGTH}}$`);

export interface Prepared extends Outgoing {
  /** The serialised message, in ASCII. */
  readonly body: string;
}

/**
 * Checks a message before it is accepted, in every implementation: a message that the queue or its reader would refuse
 * is refused while the sender can still handle it. The result is the message as its reader receives it.
 *
 * @throws Failure side `queue`, remedy `never`
 */
export function prepare(queue: QueueName, outgoing: Outgoing): Prepared {
  const { group, deduplicationId } = outgoing;
  try {
    if (outgoing.message.type !== queue) throw invalid('check type', `${outgoing.message.type} is not for this queue`);
    if (!ID.test(group)) throw invalid('check group', `${group} is not an id that SQS accepts`);
    if (!ID.test(deduplicationId))
      throw invalid('check deduplication id', `${deduplicationId} is not an id that SQS accepts`);
    const body = serialise(outgoing.message);
    return { group, deduplicationId, body, message: parseMessage(body) };
  } catch (error) {
    throw asFailure(error, 'prepare message', 'queue').within(`send ${describe(outgoing.message)}`, 'queue');
  }
}

/** A message in an error: `layer sha256:… of docker.io/library/alpine`. */
export function describe(message: Message): string {
  switch (message.type) {
    case 'resolve':
      return `resolve of ${message.source}`;
    case 'layer':
      return `layer ${message.blob.digest} of ${message.source}`;
    case 'finalize':
      return `finalize ${message.image.tag ?? message.image.digest ?? ''} of ${message.repository}`;
  }
}

/**
 * The failure of an operation that was stopped on request, whatever the signal's reason is.
 *
 * @param state what the operation was waiting for
 */
export function stopped(operation: string, state?: string): Failure {
  const detail = state === undefined ? 'stopped on request' : `stopped on request (${state})`;
  return new Failure({ operation, side: 'queue', code: 'aborted', detail });
}
