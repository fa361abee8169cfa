/** Turns the tags of a repository into slices of images, page by page. */
import { asFailure, Failure } from '../../core/failure.ts';
import type { TagIndex } from '../../archive/tag-index/tag-index.ts';
import { isTag, parseRepository } from '../../oci/reference.ts';
import { show } from '../../oci/show.ts';
import type { ResolveMessage } from '../../queue/messages.ts';
import { finalizeMessage, resolveMessage, sliceMessages } from '../../queue/outgoing.ts';
import type { ResolverContext, TagChoice } from '../context.ts';
import { recorded } from '../failures.ts';
import { dueEntries } from './checks.ts';
import { type DeliveryOptions, isRecorded } from '../delivery.ts';
import { isListOfArchived } from './referrer-lists.ts';

/** Invalid tag names that a failure lists; they are rare. */
const TOLD_NAMES = 10;

/** The number of upstream's tags that an event lists if none is selected. */
const SOME_TAGS = 5;

export const ALL_TAGS: TagChoice = { page: (tags) => tags, end: () => [] };

// eslint-disable-next-line max-lines-per-function -- the steps of one page, in order
export async function listTags(
  context: ResolverContext,
  message: ResolveMessage,
  options: DeliveryOptions,
): Promise<void> {
  const { queues, observe, sources, quota } = context;
  const { signal } = options;
  const { run, source, repository } = message;
  const choice = context.chooseTags?.(message) ?? ALL_TAGS;
  const nameless: string[] = [];
  let ordered = 0;
  let covered = 0;
  let count = 0;
  const some: string[] = [];
  const order = async (wanted: readonly string[], index: TagIndex | undefined): Promise<void> => {
    const valid = wanted.filter((tag) => isTag(tag));
    const named = valid.filter((tag) => !isListOfArchived(tag, index));
    covered += valid.length - named.length;
    const tags = named.slice(0, (quota?.tags ?? Infinity) - ordered);
    for (const name of wanted) if (!isTag(name) && nameless.length < TOLD_NAMES) nameless.push(name);
    if (tags.length > 0) {
      observe({ type: 'listed', run, source, repository, tags });
      const images = tags.map((tag) => ({ tag }));
      await queues.send('resolve', sliceMessages(message, images), { signal });
      ordered += tags.length;
    }
    if (quota !== undefined && tags.length < named.length) throw quota.tooManyTags(source);
  };
  try {
    const index = (await context.archive.tagIndex(repository, { signal }))?.index;
    for await (const page of sources.repository(parseRepository(source)).tags({ signal })) {
      count += page.length;
      for (const tag of page.slice(0, SOME_TAGS - some.length)) some.push(tag);
      await order(choice.page(page), index);
    }
    await order(choice.end(), index);
    await orderChecks(context, message, index, signal);
    if (nameless.length > 0) throw noTags(source, nameless);
    if (ordered + covered === 0)
      observe({ type: 'listed', run, source, repository, tags: [], upstream: { count, some } });
  } catch (error) {
    const failure = asFailure(error, `list tags of ${source}`, 'source');
    if (!isRecorded(failure, options)) throw failure;
    await queues.send('finalize', [finalizeMessage(message, {}, 'resolver', recorded(failure))], { signal });
  }
}

/** Orders the due checks of unchanged images for referrers in one message, which costs one write. */
async function orderChecks(
  context: ResolverContext,
  message: ResolveMessage,
  index: TagIndex | undefined,
  signal: AbortSignal,
): Promise<void> {
  const { queues, chooseTags, policyOf, now } = context;
  if (index === undefined || (policyOf?.(message) ?? index.control.policy).referrers === 'none') return;
  if (dueEntries(index, chooseTags?.(message) ?? ALL_TAGS, now()).length === 0) return;
  await queues.send('resolve', [resolveMessage(message, { kind: 'checks' })], { signal });
}

/**
 * Upstream lists names that no reference can contain. Such images exist and cannot be mirrored, so they are reported.
 */
function noTags(source: string, names: readonly string[]): Failure {
  const detail = `upstream lists invalid tag names, which cannot be requested: ${names.map(show).join(', ')}`;
  return new Failure({ operation: `list tags of ${source}`, side: 'source', code: 'invalid', detail });
}
