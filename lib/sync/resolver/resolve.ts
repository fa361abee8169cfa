/**
 * The resolver role: turns a request into messages for the missing blobs. It lists tags page by page and sends itself
 * slices of them. For each image it asks upstream for the current digest, stores small content, and sends one message
 * per missing blob (image.ts).
 */
import { asFailure, Failure } from '../../core/failure.ts';
import { Semaphore } from '../../core/semaphore.ts';
import { settleEach } from '../../core/settle-all.ts';
import { defined } from '../../core/defined.ts';
import { type TagEntry, TagIndex } from '../../archive/tag-index/tag-index.ts';
import { withPolicy } from '../../archive/tag-index/withheld.ts';
import { isSamePolicy, NO_POLICY } from '../../policy/policy.ts';
import type { Digest } from '../../oci/digest.ts';
import { parseRepository } from '../../oci/reference.ts';
import type { ResolveMessage, Wanted } from '../../queue/messages.ts';
import { changeMessage, finalizeMessage } from '../../queue/outgoing.ts';
import type { Source } from '../../registry/source.ts';
import type { ResolverContext } from '../context.ts';
import { BlobLookup } from './blob-lookup.ts';
import { imageName } from '../events.ts';
import { recorded } from '../failures.ts';
import { resolveImage } from './image.ts';
import { keptWalks, type SliceWork } from './order.ts';
import { announcedSubject, concernedBy } from './announced.ts';
import { checkApart, dueEntries } from './checks.ts';
import { sendUnchanged } from './unchanged.ts';
import { referrerWork } from './referrers.ts';
import { firstTags, tagHint } from './tag-hint.ts';
import { ALL_TAGS, listTags } from './list-tags.ts';
import { type DeliveryOptions, isRecorded } from '../delivery.ts';

/** Images of a slice that are handled concurrently; the host's connections limit their requests further. */
const SIDE_BY_SIDE = 16;

/** Manifests of at most 4 MiB that a slice keeps while it handles their images. */
const WHOLES_SIDE_BY_SIDE = 2;

/** The time in which a run begins checks for referrers, in milliseconds: the next run makes the others. A slow registry ends no function. */
const CHECKS_MS = 60_000;

export async function resolve(
  context: ResolverContext,
  message: ResolveMessage,
  options: DeliveryOptions,
): Promise<void> {
  const { what } = message;
  if (what.kind === 'list') await listTags(context, message, options);
  else if (what.kind === 'images') await new Slice(context, message, options).run(what.images);
  else await new Slice(context, message, options).check(what.announced);
}

class Slice {
  readonly #context: ResolverContext;
  readonly #message: ResolveMessage;
  readonly #options: DeliveryOptions;
  readonly #source: Source;
  readonly #failures: Failure[] = [];
  #tags: Promise<readonly string[] | undefined> | undefined;

  constructor(context: ResolverContext, message: ResolveMessage, options: DeliveryOptions) {
    this.#context = context;
    this.#message = message;
    this.#options = options;
    this.#source = context.sources.repository(parseRepository(message.source));
  }

  async run(images: readonly Wanted[]): Promise<void> {
    // The tag index is read once for all images; if that fails, all images fail.
    const work = this.#work();
    work.catch(() => undefined);
    await settleEach(images, SIDE_BY_SIDE, (wanted) => this.#resolveOne(work, wanted));
    await work.then(
      (slice) => this.#end(slice),
      () => this.#throw(),
    );
  }

  /** Checks unchanged images of the repository for referrers: those whose referrers are announced, or that are due. */
  async check(announced: readonly Wanted[] | undefined): Promise<void> {
    const { now, chooseTags } = this.#context;
    const slice = await this.#work();
    const { index, policy, referrers } = slice;
    if (index === undefined) return;
    const due =
      announced === undefined && policy.referrers !== 'none'
        ? dueEntries(index, chooseTags?.(this.#message) ?? ALL_TAGS, now())
        : [];
    const subjects = (announced ?? []).map((each) => async () => {
      const subject = await announcedSubject(slice, each);
      if (subject !== undefined) referrers.announced.add(subject);
    });
    const end = now() + CHECKS_MS;
    const checks = due.map((entry) => async () => {
      if (now() < end) await checkApart(slice, entry);
    });
    await this.#all([...subjects, ...checks]);
    await this.#end(slice);
  }

  /** Checks the subjects of announced referrers, and records all checks. */
  async #end(slice: SliceWork): Promise<void> {
    const entries = new Map<Digest, TagEntry>();
    const images: Wanted[] = [];
    const find = async (subject: Digest): Promise<void> => {
      const { entry, unverified } = await concernedBy(slice, subject);
      if (entry !== undefined) entries.set(entry.digest, entry);
      for (const image of unverified) images.push(image);
    };
    await this.#all([...slice.referrers.announced].map((subject) => () => find(subject)));
    const checks = [...entries.values()].map((entry) => () => checkApart(slice, entry));
    const again = images.map((wanted) => () => this.#resolveOne(slice, wanted));
    await this.#all([...checks, ...again]);
    // The checks are sent even if a failure follows, because they are done.
    await sendUnchanged(slice);
    this.#throw();
  }

  /** Runs the work of all items; a failure of one does not stop the others. */
  async #all(works: readonly (() => Promise<unknown>)[]): Promise<void> {
    await settleEach(works, SIDE_BY_SIDE, (work) =>
      work().catch((error: unknown) => this.#failures.push(this.#named(error, {}))),
    );
  }

  async #resolveOne(work: SliceWork | Promise<SliceWork>, wanted: Wanted): Promise<void> {
    try {
      await resolveImage(await work, wanted);
    } catch (error) {
      const failure = await this.#hinted(this.#named(error, wanted), wanted);
      if (!isRecorded(failure, this.#options)) this.#failures.push(failure);
      else if (this.#context.isExpected?.(failure, this.#message) !== true) {
        const outgoing = finalizeMessage(this.#message, wanted, 'resolver', recorded(failure));
        await this.#context.queues.send('finalize', [outgoing], { signal: this.#options.signal });
      }
    }
  }

  /** The message is delivered again. Images that are done cost little then: their blobs exist, or were sent. */
  #throw(): void {
    const worst = longestWait(this.#failures);
    if (worst !== undefined) throw worst;
  }

  async #work(): Promise<SliceWork> {
    const { archive, now } = this.#context;
    const options = this.#options;
    const { signal } = options;
    const { source, strictMediaTypes: strict } = this.#message;
    const index = await this.#index();
    const policy = index?.control.policy ?? NO_POLICY;
    if (policy.initial === 'accept' && index?.control.initial === 'open') this.#context.initial?.();
    const lookup = new BlobLookup(archive, { source, strict, now: now(), signal });
    return {
      context: this.#context,
      message: this.#message,
      signal,
      options,
      source: this.#source,
      lookup,
      walks: keptWalks(),
      referrers: referrerWork(),
      wholes: new Semaphore(WHOLES_SIDE_BY_SIDE),
      many: new Semaphore(1),
      orders: new Semaphore(1),
      unattested: new Map(),
      policy,
      index,
    };
  }

  /**
   * The tag index with the policy of the configuration. The finalizer records the policy before the images of this
   * message, because its queue keeps the order within a repository.
   */
  async #index(): Promise<TagIndex | undefined> {
    const { archive, policyOf, queues } = this.#context;
    const { signal } = this.#options;
    const { repository } = this.#message;
    const index = (await archive.tagIndex(repository, { signal }))?.index;
    const policy = policyOf?.(this.#message);
    if (policy === undefined || isSamePolicy(policy, index?.control.policy ?? NO_POLICY)) return index;
    await queues.send('finalize', [changeMessage(this.#message, { policy })], { signal });
    return withPolicy(index ?? TagIndex.empty(), policy);
  }

  /** Adds some of upstream's tags to the failure of a missing tag, unless it is from a list; the tags are listed once. */
  async #hinted(failure: Failure, { tag, digest }: Wanted): Promise<Failure> {
    const { what } = this.#message;
    const isListed = what.kind === 'images' && what.listed === true;
    const isMissing = failure.code === 'manifest-unknown' && tag !== undefined && digest === undefined;
    if (!isMissing || isListed) return failure;
    this.#tags ??= firstTags(this.#source, this.#options.signal);
    const tags = await this.#tags;
    if (tags === undefined) return failure;
    const { operation, side, code, status, cause } = failure;
    const detail = `${failure.detail}; ${tagHint(tags, tag)}`;
    return new Failure({ operation, side, code, detail, cause, ...defined({ status }) });
  }

  /** Adds the image's name to the failure of a pure function. */
  #named(error: unknown, wanted: Wanted): Failure {
    const operation = `resolve ${imageName(this.#message, wanted).reference}`;
    const failure = asFailure(error, operation, 'source');
    return failure.side === 'input' ? failure.within(operation, 'source') : failure;
  }
}

function longestWait(failures: readonly Failure[]): Failure | undefined {
  let worst: Failure | undefined;
  for (const failure of failures)
    if (worst === undefined || (failure.retryAfterMs ?? 0) > (worst.retryAfterMs ?? 0)) worst = failure;
  return worst;
}
