import { createHash } from 'node:crypto';
import { type Config, mirrorsOf } from '../config/mirrors.ts';
import { wantsTag } from '../config/tags.ts';
import { defined } from '../core/defined.ts';
import { isFill, selectedOrder } from '../app/missing.ts';
import { orderOf } from '../app/start.ts';
import { isReferrerTag, subjectOfTag } from '../oci/referrer-tags.ts';
import type { ResolveMessage, Wanted } from '../queue/messages.ts';
import { chained, resolveMessage } from '../queue/outgoing.ts';
import type { Outgoing } from '../queue/queue.ts';
import type { Pushed } from './delivery.ts';

/**
 * The messages to the resolver for pushed images: one per mirror, and only for configured repositories and tags.
 *
 * A message has the tag and never the digest, because the resolver asks the registry for the current digest. A late, repeated
 * or forged delivery therefore cannot move a tag back. A push without a tag is a part of a later push, or a referrer;
 * the resolver finds out which. A referrer is never mirrored by itself, even under a tag of cosign: its subject is
 * checked.
 *
 * If a mirror keeps only the newest tags, the message requests the list of tags, which decides whether this one is included.
 */
export function ordersFor(items: readonly Pushed[], config: Config, run: string): readonly Outgoing<ResolveMessage>[] {
  const byRepository = Map.groupBy(items, ({ repository }) => repository);
  const messages = [...byRepository].flatMap(([repository, pushed]) => {
    const tags = new Set(pushed.flatMap(({ tag }) => (tag === undefined || isReferrerTag(tag) ? [] : tag)));
    const announced = announcedBy(pushed);
    return mirrorsOf(config, repository).flatMap((mirror) => {
      const images = selectedOrder(mirror, [...tags], run) ?? [];
      const isUseful = mirror.policy?.referrers !== 'none' || mirror.policy.verify === 'require';
      const checks =
        isUseful && announced.length > 0 ? resolveMessage(orderOf(mirror, run), { kind: 'checks', announced }) : [];
      return [images, checks].flat();
    });
  });
  return chained(messages);
}

/** The pushes that may be referrers, each once. */
function announcedBy(pushed: readonly Pushed[]): readonly Wanted[] {
  const found = new Map<string, Wanted>();
  for (const { tag, digest } of pushed)
    if (tag === undefined) {
      if (digest !== undefined) found.set(digest, { digest });
    } else if (subjectOfTag(tag) !== undefined) found.set(tag, { tag });
  return [...found.values()];
}

/**
 * The id of the run that a delivery starts, derived from the delivery's identity. A repeated delivery has the same run and
 * the same messages. The queue drops them within five minutes; later they cost one HEAD per tag and change nothing.
 */
export function runOf(kind: 'webhook' | 'ecr', ...identity: readonly (string | Uint8Array)[]): string {
  const hash = createHash('sha256');
  for (const part of identity) hash.update(`${part.length}:`).update(part);
  return `${kind}-${hash.digest('hex').slice(0, 32)}`;
}

/** The runs that notifications have started. */
const NOTIFIED = /^(?:webhook|ecr)-/;

/**
 * Restricts the message of a run that a notification or a client of the registry has started to the configuration: the tags,
 * the source, the destination and the platforms of a mirror; undefined if no mirror matches. The resolver calls this, so that an
 * attacker who controls the messages of a public function cannot choose what is mirrored, or where.
 */
export function allowed(message: ResolveMessage, config: Config): ResolveMessage | undefined {
  if (!NOTIFIED.test(message.run) && !isFill(message.run)) return message;
  const mirror = mirrorsOf(config, message.source).find(({ repository }) => repository === message.repository);
  if (mirror === undefined) return undefined;
  const { what } = message;
  const order = orderOf(mirror, message.run);
  if (what.kind === 'list') return resolveMessage(order, what).message;
  if (what.kind === 'checks') {
    const announced = what.announced?.filter(({ tag }) => tag === undefined || isReferrerTag(tag));
    if (announced?.length === 0) return undefined;
    return resolveMessage(order, defined({ kind: what.kind, announced })).message;
  }
  const images = what.images.filter(({ tag }) => tag !== undefined && wantsTag(tag, mirror.tags) !== 'no');
  if (images.length === 0) return undefined;
  // The registry, and not the message, determines the digest.
  return resolveMessage(order, { ...what, images: images.map(({ tag }) => defined({ tag })) }).message;
}
