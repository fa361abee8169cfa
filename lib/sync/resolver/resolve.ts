/**
 * The resolver role: turns a request into messages for the missing blobs. It lists tags page by page and sends itself
 * slices of them. For each image it asks upstream for the current digest, stores small content, and sends one message
 * per missing blob.
 */
import { asFailure, Failure, type FailureCode } from '../../core/failure.ts';
import { Semaphore } from '../../core/semaphore.ts';
import { settleAll } from '../../core/settle-all.ts';
import { covers, isWithin, provenPlatforms, type TagEntry, type TagIndex } from '../../archive/tag-index/tag-index.ts';
import { defined } from '../../core/defined.ts';
import type { Digest } from '../../oci/digest.ts';
import { parseRepository } from '../../oci/reference.ts';
import { type Image, type ResolveMessage, type Wanted } from '../../queue/messages.ts';
import { finalizeMessage, layerMessage } from '../../queue/outgoing.ts';
import type { Resolved, Source } from '../../registry/source.ts';
import { checkPlatforms, held } from '../closure.ts';
import type { ResolverContext } from '../context.ts';
import { BlobLookup } from './blob-lookup.ts';
import { imageName } from '../events.ts';
import { recorded } from '../failures.ts';
import { once } from './once.ts';
import { firstTags, tagHint } from './tag-hint.ts';
import { type NeededBlob, RootUnknown, walk, type Walked } from './walk.ts';
import { listTags } from './list-tags.ts';
import { isRecorded, isTemporary, type ResolveOptions } from './options.ts';

/** Images of a slice that are handled concurrently; the host's connections limit their requests further. */
const SIDE_BY_SIDE = 16;

/** Failures for a missing tag. They do not fail an image that is also requested by digest. */
const IS_NO_TAG: ReadonlySet<FailureCode> = new Set(['manifest-unknown', 'name-unknown']);

/** An image in upstream. */
interface Found extends Partial<Pick<Resolved, 'fetched'>> {
  readonly digest: Digest;
  /** The tag to write. */
  readonly tag?: string;
  readonly note?: string;
}

export async function resolve(
  context: ResolverContext,
  message: ResolveMessage,
  options: ResolveOptions,
): Promise<void> {
  const { what } = message;
  if (what.kind === 'list') await listTags(context, message, options);
  else await new Slice(context, message, options).run(what.images);
}

class Slice {
  readonly #context: ResolverContext;
  readonly #message: ResolveMessage;
  readonly #options: ResolveOptions;
  readonly #source: Source;
  readonly #lookup: BlobLookup;
  /** Tags often name the same image, which is walked once. */
  readonly #walks = new Map<string, Promise<Walked>>();
  #tags: Promise<readonly string[] | undefined> | undefined;

  constructor(context: ResolverContext, message: ResolveMessage, options: ResolveOptions) {
    this.#context = context;
    this.#message = message;
    this.#options = options;
    this.#source = context.sources.repository(parseRepository(message.source));
    const { source, strictMediaTypes: strict } = message;
    this.#lookup = new BlobLookup(context.archive, options.signal, { source, strict, now: context.now() });
  }

  async run(images: readonly Wanted[]): Promise<void> {
    const { archive, queues } = this.#context;
    const { signal } = this.#options;
    // Read once; a failure fails every image.
    const index = archive.tagIndex(this.#message.repository, { signal }).then((found) => found?.index);
    index.catch(() => undefined);
    const permits = new Semaphore(SIDE_BY_SIDE);
    const failures: Failure[] = [];
    const all = images.map((wanted) =>
      permits.with(async () => {
        try {
          await this.#image(wanted, await index);
        } catch (error) {
          const failure = await this.#hinted(this.#named(error, wanted), wanted);
          if (failure.code === 'aborted' || (isTemporary(failure) && !isRecorded(failure, this.#options)))
            failures.push(failure);
          else if (this.#context.isExpected?.(failure, this.#message) !== true) {
            const outgoing = finalizeMessage(this.#message, wanted, 'resolver', recorded(failure));
            await queues.send('finalize', [outgoing], { signal });
          }
        }
      }),
    );
    await settleAll(all);
    // The message is delivered again. Images that are done cost little then: their blobs exist, or were sent.
    const worst = longestWait(failures);
    if (worst !== undefined) throw worst;
  }

  async #image(wanted: Wanted, index: TagIndex | undefined): Promise<void> {
    const { now } = this.#context;
    // The time before the request: a slow response is not a newer observation.
    const observed = now();
    const { reference, repository } = imageName(this.#message, wanted);
    this.#context.quota?.image(reference.startsWith(repository) ? reference : `${reference} as ${repository}`);
    const found = await this.#find(wanted);
    try {
      await this.#mirror(wanted, found, observed, index);
    } catch (error) {
      if (!(error instanceof RootUnknown)) throw error;
      // HEAD may be answered from a cache, and a tag may move between two requests, so the GET of the tag decides.
      const again = now();
      await this.#mirror(wanted, await this.#findWhole(wanted, found, error.failure), again, index);
    }
  }

  async #mirror(wanted: Wanted, found: Found, observed: number, index: TagIndex | undefined): Promise<void> {
    const { archive } = this.#context;
    const { signal } = this.#options;
    const { digest, tag, note } = found;
    const entry = tag === undefined ? index?.byDigest(digest) : index?.byTag(tag);
    if (entry?.digest === digest && covers(entry, this.#message)) {
      await this.#checkPlatforms(entry);
      const told = note === undefined ? {} : { reason: note };
      const name = { ...imageName(this.#message, wanted), tag, digest };
      this.#context.observe({ type: 'image', status: 'unchanged', ...name, ...told });
      return;
    }
    const name = { ...imageName(this.#message, wanted), tag, digest };
    const queued = { type: 'image' as const, status: 'pending' as const, ...name };
    if ((await this.#context.queuedBy?.(queued, this.#message, signal)) !== undefined) return;
    const options = { source: this.#source, archive, scope: this.#message, signal };
    const isFirst = !this.#walks.has(digest);
    const walked = await once(this.#walks, digest, () => walk(digest, found.fetched, options));
    this.#context.quota?.size(name.reference, walked.blobs);
    await this.#order(wanted, found, observed, isFirst ? walked : { ...walked, fetchedBytes: 0 });
  }

  async #findWhole(wanted: Wanted, { tag, digest }: Found, failure: Failure): Promise<Found> {
    if (tag === undefined) throw failure;
    const fetched = await this.#source.fetchTag(tag, { signal: this.#options.signal });
    if (wanted.digest !== undefined && fetched.digest !== digest) throw failure;
    return { digest: fetched.digest, tag, fetched };
  }

  /** Adds some of upstream's tags to the failure of a missing tag; the tags are listed once. */
  async #hinted(failure: Failure, { tag, digest }: Wanted): Promise<Failure> {
    if (failure.code !== 'manifest-unknown' || tag === undefined || digest !== undefined) return failure;
    this.#tags ??= firstTags(this.#source, this.#options.signal);
    const tags = await this.#tags;
    if (tags === undefined) return failure;
    const { operation, side, code, detail, status, cause } = failure;
    return new Failure({
      operation,
      side,
      code,
      detail: `${detail}; ${tagHint(tags, tag)}`,
      cause,
      ...defined({ status }),
    });
  }

  /** Adds the image's name to the failure of a pure function. */
  #named(error: unknown, wanted: Wanted): Failure {
    const operation = `resolve ${imageName(this.#message, wanted).reference}`;
    const failure = asFailure(error, operation, 'source');
    return failure.side === 'input' ? failure.within(operation, 'source') : failure;
  }

  /** Other platforms were requested when the entry was written: check whether the archived ones include these. */
  async #checkPlatforms(entry: TagEntry): Promise<void> {
    const { archive } = this.#context;
    const { platforms } = this.#message;
    const { signal } = this.#options;
    if (isWithin(provenPlatforms(entry) ?? [], platforms)) return;
    await checkPlatforms(entry.digest, platforms, (of, maxBytes) => held(archive, of, { maxBytes, signal }));
  }

  /** Finds the requested image upstream. */
  async #find(wanted: Wanted): Promise<Found> {
    const { tag, digest } = wanted;
    if (tag === undefined) {
      if (digest === undefined) throw new RangeError('an image to resolve has neither tag nor digest');
      return { digest };
    }
    const named = await this.#source.resolve(tag, { signal: this.#options.signal }).catch((error: unknown) => {
      if (digest !== undefined && error instanceof Failure && IS_NO_TAG.has(error.code)) return undefined;
      throw error;
    });
    if (named !== undefined && (digest === undefined || named.digest === digest)) return { ...named, tag };
    const note = named === undefined ? 'upstream has no such tag' : `the tag names ${named.digest} upstream`;
    return { digest: digest as Digest, note: `${note}; kept by its digest` };
  }

  /** Sends one message per missing blob; without any, notifies the finalizer at once. */
  // eslint-disable-next-line max-lines-per-function -- the steps for one image, in order
  async #order(wanted: Wanted, found: Found, observed: number, walked: Walked): Promise<void> {
    const { queues, observe, lanes } = this.#context;
    const { signal } = this.#options;
    const { mediaType, size, blobs, lost, fetchedBytes } = walked;
    const { digest, tag, note } = found;
    const permits = new Semaphore(SIDE_BY_SIDE);
    const looked = await settleAll(
      blobs.map((blob) => permits.with(async () => ({ blob, look: await this.#lookup.find(blob) }))),
    );
    // The largest first, so that none is left over at the end, alone on its connections.
    const missing = looked
      .flatMap(({ blob, look }) => (look === undefined ? [] : [{ blob, look }]))
      .sort((a, b) => (b.blob.size ?? 0) - (a.blob.size ?? 0));
    this.#context.quota?.fetch(
      imageName(this.#message, wanted).reference,
      missing.map(({ blob }) => blob),
    );
    const image: Image = defined({
      digest,
      mediaType,
      size,
      observed,
      tag,
      note,
      asked: wanted.tag === undefined || wanted.digest === undefined ? undefined : wanted,
      largest: largestOf(blobs)?.digest,
      lost: lost.length === 0 ? undefined : lost,
    });
    const name = imageName(this.#message, image);
    observe({
      type: 'resolved',
      ...name,
      missing: missing.length,
      blobs: missing.map(({ blob: { digest: each, size: length } }) => ({ digest: each, size: length })),
      missingBytes: missing.reduce((sum, { blob }) => sum + (blob.size ?? 0), 0),
      fetchedBytes,
    });
    const host = parseRepository(this.#message.source).host;
    if (missing.length === 0)
      await queues.send('finalize', [finalizeMessage(this.#message, image, 'resolver')], { signal });
    else {
      const outgoing = missing.map(({ blob: { data: _, ...blob }, look }) =>
        layerMessage(this.#message, image, blob, { lanes: lanes(host), look }),
      );
      await queues.send('layer', outgoing, { signal });
      // Not before: an image is pending only if its messages exist, and the last of them brings its final state.
      await this.#context.pending?.({ type: 'image', status: 'pending', ...name }, this.#message, signal);
    }
  }
}

function largestOf(blobs: readonly NeededBlob[]): NeededBlob | undefined {
  let largest: NeededBlob | undefined;
  for (const blob of blobs) if ((blob.size ?? 0) >= (largest?.size ?? 0)) largest = blob;
  return largest;
}

function longestWait(failures: readonly Failure[]): Failure | undefined {
  let worst: Failure | undefined;
  for (const failure of failures)
    if (worst === undefined || (failure.retryAfterMs ?? 0) > (worst.retryAfterMs ?? 0)) worst = failure;
  return worst;
}
