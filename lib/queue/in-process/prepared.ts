import type { LayerMessage } from '../messages.ts';
import { prepare } from '../prepare.ts';
import type { Outgoing, QueueName } from '../queue.ts';

/**
 * The messages as their readers receive them. Messages with the same order and facts of an image share them, and a message to the
 * resolver shares its images with its sender, so that each takes little memory.
 */
export function prepared(queue: QueueName, messages: readonly Outgoing[]): readonly Outgoing[] {
  let last: { readonly sent: LayerMessage; readonly kept: LayerMessage } | undefined;
  return messages.map((outgoing) => {
    const { group, deduplicationId, message } = prepare(queue, outgoing);
    const sent = outgoing.message;
    if (message.type === 'resolve' && sent.type === 'resolve')
      return { group, deduplicationId, message: { ...message, what: sent.what } };
    if (message.type !== 'layer' || sent.type !== 'layer') return { group, deduplicationId, message };
    if (last === undefined || !isOfSameImage(last.sent, sent)) last = { sent, kept: message };
    const { run, source, repository, image } = last.kept;
    return { group, deduplicationId, message: { ...message, run, source, repository, image } };
  });
}

function isOfSameImage(a: LayerMessage, b: LayerMessage): boolean {
  return a.image === b.image && a.run === b.run && a.source === b.source && a.repository === b.repository;
}
