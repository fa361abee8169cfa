/** Orders for images that clients request from a served archive, and that the archive lacks (docs/serve.md). Pure. */
import { createHash } from 'node:crypto';
import type { Config, Mirror } from '../config/mirrors.ts';
import { wantsTag } from '../config/tags.ts';
import type { Failure } from '../core/failure.ts';
import type { Order, ResolveMessage } from '../queue/messages.ts';
import { resolveMessage } from '../queue/outgoing.ts';
import type { Outgoing } from '../queue/queue.ts';
import { orderOf } from './start.ts';

export interface MissingOrder {
  /** Equal orders have the same key, even if clients use different names. */
  readonly key: string;
  readonly run: string;
  readonly messages: readonly Outgoing<ResolveMessage>[];
}

/** The prefix of the runs that clients start. */
const FILL = 'fill-';

/**
 * The order for a missing tag; undefined if the configuration does not mirror it. If a mirror keeps only the newest tags, the
 * order is for the list of tags, which decides whether this one is included.
 *
 * @param missing the repositories of the archive that the client may mean, in the order of lookup
 */
export function orderForMissing(
  missing: { readonly repositories: readonly string[]; readonly tag: string },
  config: Config,
  now: number,
): MissingOrder | undefined {
  const { repositories, tag } = missing;
  for (const name of repositories) {
    const mirrors = config.mirrors.filter(({ repository }) => repository === name);
    if (mirrors.length === 0) continue;
    const isList = mirrors.some(({ tags }) => wantsTag(tag, tags) === 'depends');
    const key = isList ? name : `${name}:${tag}`;
    const run = `${FILL}${sha256(`${key} ${now}`).slice(0, 32)}`;
    const messages = mirrors.flatMap((mirror) => selectedOrder(mirror, [tag], run) ?? []).map(withoutRun);
    return messages.length === 0 ? undefined : { key, run, messages };
  }
  return undefined;
}

/** Whether a client has started the run. */
export function isFill(run: string): boolean {
  return run.startsWith(FILL);
}

/** Whether a failure is only that a client requested a tag that upstream lacks, which is not an error of the mirror. */
export function isUnknownRequest({ code }: Failure, { run }: Order): boolean {
  return isFill(run) && (code === 'manifest-unknown' || code === 'name-unknown');
}

/** The message to the resolver for tags of a mirror; undefined if the configuration admits none of them. */
export function selectedOrder(
  mirror: Mirror,
  tags: readonly string[],
  run: string,
): Outgoing<ResolveMessage> | undefined {
  const order = orderOf(mirror, run);
  const wanted = tags.map((tag) => ({ tag, wants: wantsTag(tag, mirror.tags) }));
  if (wanted.some(({ wants }) => wants === 'depends')) return resolveMessage(order, { kind: 'list' });
  const images = wanted.filter(({ wants }) => wants === 'yes').map(({ tag }) => ({ tag }));
  return images.length === 0 ? undefined : resolveMessage(order, { kind: 'images', images });
}

/** The queue drops equal messages for five minutes, also those of other servers. */
function withoutRun(outgoing: Outgoing<ResolveMessage>): Outgoing<ResolveMessage> {
  const { source, repository, what } = outgoing.message;
  return { ...outgoing, deduplicationId: sha256(JSON.stringify([FILL, source, repository, what])) };
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
