import { asFailure, Failure, invalid } from '../core/failure.ts';
import { MAX_ID_LENGTH } from './lanes.ts';
import type { Message } from './messages.ts';
import { parseMessage, serialise } from './parse.ts';
import type { Outgoing, QueueName } from './queue.ts';

/** SQS's characters of MessageGroupId and MessageDeduplicationId: letters, digits and ASCII punctuation. */
const ID = new RegExp(`^[\\x21-\\x7e]{1,${MAX_ID_LENGTH}}$`);

export interface Prepared extends Outgoing {
  /** The message as it travels, in ASCII. */
  readonly body: string;
}

/**
 * What every implementation does before it accepts a message: refuse what a queue, or whoever reads from it, would
 * refuse, while there is still someone to tell. The message that results is what the reader will see.
 *
 * @throws Failure side `queue`, remedy `never`
 */
export function prepare(queue: QueueName, outgoing: Outgoing): Prepared {
  const { group, deduplicationId } = outgoing;
  try {
    if (outgoing.message.type !== queue) throw invalid('check type', `${outgoing.message.type} is not for this queue`);
    if (!ID.test(group)) throw invalid('check group', `${group} is not an id that SQS takes`);
    if (!ID.test(deduplicationId))
      throw invalid('check deduplication id', `${deduplicationId} is not an id that SQS takes`);
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

/** What is thrown by whoever was told to stop, whatever reason the signal carries. */
export function stopped(operation: string): Failure {
  return new Failure({ operation, side: 'queue', code: 'aborted', detail: 'stopped on request' });
}
