import { createHash } from 'node:crypto';
import { type Config, type Mirror, mirrorsOf } from '../config/mirrors.ts';
import { wantsTag } from '../config/tags.ts';
import { defined } from '../core/defined.ts';
import { orderOf } from '../app/start.ts';
import type { ResolveMessage } from '../queue/messages.ts';
import { resolveMessage } from '../queue/outgoing.ts';
import type { Outgoing } from '../queue/queue.ts';
import type { Pushed } from './delivery.ts';

/**
 * What was pushed as messages to the resolver: one a mirror, and only of repositories and tags that the configuration
 * mirrors.
 *
 * Only the tag goes on, never the digest: what the tag names now is for the registry to say, so that a delivery that is
 * late, repeated or forged cannot move a tag back. What is pushed without a tag is a part of something that gets one later.
 *
 * Where only the newest tags are mirrored, whether this one is among them takes the list: then the message asks for it.
 */
export function ordersFor(items: readonly Pushed[], config: Config, run: string): Outgoing<ResolveMessage>[] {
  const tagsOf = Map.groupBy(items, ({ repository }) => repository);
  return [...tagsOf].flatMap(([repository, pushed]) => {
    const tags = new Set(pushed.flatMap(({ tag }) => tag ?? []));
    return mirrorsOf(config, repository).flatMap((mirror) => orderFor(mirror, [...tags], run) ?? []);
  });
}

function orderFor(mirror: Mirror, pushed: readonly string[], run: string): Outgoing<ResolveMessage> | undefined {
  const order = orderOf(mirror, run);
  const wanted = pushed.map((tag) => ({ tag, wants: wantsTag(tag, mirror.tags) }));
  if (wanted.some(({ wants }) => wants === 'depends')) return resolveMessage(order, { kind: 'list' });
  const images = wanted.filter(({ wants }) => wants === 'yes').map(({ tag }) => ({ tag }));
  return images.length === 0 ? undefined : resolveMessage(order, { kind: 'images', images });
}

/**
 * The run that a delivery starts, made of what tells it from all others. The same delivery again is the same run, and so
 * the same messages: the queue swallows them within five minutes, and after that they cost a HEAD a tag and change nothing.
 */
export function runOf(kind: 'webhook' | 'ecr', ...identity: readonly (string | Uint8Array)[]): string {
  const hash = createHash('sha256');
  for (const part of identity) hash.update(`${part.length}:`).update(part);
  return `${kind}-${hash.digest('hex').slice(0, 32)}`;
}

/** Runs that a registry's notification has started. */
const NOTIFIED = /^(?:webhook|ecr)-/;

/**
 * The message as the configuration allows it, where a notification has started its run: only tags that a mirror wants, from
 * and to where that mirror says, and for its platforms. Undefined where nothing of it is mirrored. The resolver calls this
 * itself, since anyone who can make the webhook function send a message must not choose what is mirrored where.
 */
export function allowed(message: ResolveMessage, config: Config): ResolveMessage | undefined {
  if (!NOTIFIED.test(message.run)) return message;
  const mirror = mirrorsOf(config, message.source).find(({ repository }) => repository === message.repository);
  if (mirror === undefined) return undefined;
  const { what } = message;
  const images =
    what.kind === 'list' ? [] : what.images.filter(({ tag }) => tag !== undefined && isWanted(tag, mirror));
  if (what.kind === 'images' && images.length === 0) return undefined;
  return resolveMessage(
    orderOf(mirror, message.run),
    // A digest would decide what the tag names; the registry decides that.
    what.kind === 'list' ? what : { kind: 'images', images: images.map(({ tag }) => defined({ tag })) },
  ).message;
}

function isWanted(tag: string, { tags }: Mirror): boolean {
  return wantsTag(tag, tags) !== 'no';
}
