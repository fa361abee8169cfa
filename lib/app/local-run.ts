/** Runs the three roles in one process with an in-process queue. */
import { defined } from '../core/defined.ts';
import { asFailure } from '../core/failure.ts';
import { Lru } from '../core/lru.ts';
import type { Archive } from '../archive/archive.ts';
import { partSizeFor } from '../store/parts.ts';
import { type CachedReader, cachedReader } from '../sync/cached-reader.ts';
import { receiptReader } from '../sync/receipt-reader.ts';
import { NO_DEADLINE } from '../sync/deadline.ts';
import type { ResolverContext } from '../sync/context.ts';
import type { Observe } from '../sync/events.ts';
import { failedImages } from '../sync/failures.ts';
import type { Attesting } from '../sync/finalizer/attestations.ts';
import { finalize } from '../sync/finalizer/finalize.ts';
import { FailedImages } from '../sync/layer/failed-images.ts';
import { failLayer } from '../sync/layer/fail-layer.ts';
import { copyLayer } from '../sync/layer/layer.ts';
import { type Limits, Quota } from '../sync/resolver/quota.ts';
import { resolve } from '../sync/resolver/resolve.ts';
import { BufferPool } from '../sync/transfer/buffer-pool.ts';
import { digestParts } from '../oci/digest.ts';
import { InProcessQueues } from '../queue/in-process/in-process.ts';
import type { Outgoing, Queues } from '../queue/queue.ts';
import type { Sources } from '../registry/source.ts';

export interface LocalRun {
  readonly archive: Archive;
  readonly sources: Sources;
  readonly observe: Observe;
  readonly signal: AbortSignal;
  /** The number of blobs of one registry that are fetched concurrently. */
  readonly concurrency: number;
  /** The time until a failed message is delivered again, in milliseconds. */
  readonly retryMs?: number;
  /** Wraps the queues that the roles send to. */
  readonly wrapQueues?: (queues: Queues) => Queues;
  /** Selects tags of a listed repository. Default: all. */
  readonly chooseTags?: NonNullable<ResolverContext['chooseTags']>;
  /** The policy of a repository in the configuration. */
  readonly policyOf?: ResolverContext['policyOf'];
  readonly limits?: Limits | undefined;
  /** Sigstore's trusted root, for signers with an identity. */
  readonly trustedRoot?: Uint8Array | undefined;
  /** The signer of attestations; undefined without a key. */
  readonly attestor?: Attesting['attestor'];
  readonly onNotAttested?: Attesting['onNotAttested'];
  /** The clock of observations, in milliseconds since the epoch. Default: the time of this machine. */
  readonly now?: () => number;
  readonly messages: readonly Outgoing[];
}

/** The memory of all transfers. With it the process stays below 200 MB, and below 256 MB with the S3 client (bench/README.md). */
const BUFFER_BYTES = 40 * 1024 * 1024;
const BUFFER_PARTS = 6;

function buffersFor({ store }: Archive, areShared: () => boolean): BufferPool {
  const partSize = partSizeFor(undefined, store.limits);
  return new BufferPool(Math.max(BUFFER_BYTES, BUFFER_PARTS * partSize), partSize, areShared);
}

/** The deliveries of a message. The registry client and the store have their own retries. */
const MAX_RECEIVES = 2;

/** Resolve messages of one registry that are handled concurrently. */
const RESOLVERS = 4;
const FINALIZERS = 2;

/**
 * The places of resolvers and layers in the whole process, as a multiple of those of one registry. So a registry that does
 * not respond occupies its own places.
 */
const REGISTRIES = 4;

/** The messages that a finalizer commits in one write; a larger batch rewrites a large tag index less often. */
const FINALIZE_BATCH = 200;

/**
 * The pause of a repository's finalizer, as a multiple of its last run, up to a maximum. Writing a tag index of any size
 * therefore takes a tenth of the time.
 */
const REST = 9;
const MAX_REST_MS = 1_000;

/** Repositories whose manifests and receipts are kept in memory. */
const READERS = 2 * FINALIZERS;

/** `concurrency`, and not the number of lanes, limits the concurrent blobs: see `byDigest`. */
const LANES = 1_024;

/** Runs until all messages are handled or the signal is aborted. */
// eslint-disable-next-line max-lines-per-function -- wires the ports of one run
export async function runLocal(run: LocalRun): Promise<void> {
  const { archive, sources, observe, concurrency } = run;
  const skipped = new FailedImages();
  const queues: InProcessQueues = new InProcessQueues({
    maxReceives: MAX_RECEIVES,
    ...(run.retryMs === undefined ? {} : { retryMs: run.retryMs }),
    async deadLetter({ delivery: { message }, failure }, signal) {
      const reason = failure ?? asFailure(new Error('all deliveries failed'), 'handle message', 'queue');
      if (message.type === 'layer')
        await failLayer({ queues, observe, failedImages: skipped }, message, reason, signal);
      else failedImages(message, reason).forEach(observe);
    },
  });
  const common = {
    archive,
    queues: byDigest(run.wrapQueues?.(queues) ?? queues),
    observe,
    lanes: () => LANES,
    now: run.now ?? (() => Date.now()),
  };
  const buffers = buffersFor(archive, () => queues.areShared);

  const resolver = {
    ...common,
    sources,
    quota: new Quota(run.limits),
    trustedRoot: run.trustedRoot,
    ...defined({ chooseTags: run.chooseTags, policyOf: run.policyOf }),
  };
  queues.consume('resolve', {
    concurrency: REGISTRIES * RESOLVERS,
    perRegistry: RESOLVERS,
    batchSize: 1,
    async handler(deliveries, signal) {
      for (const { message, receiveCount } of deliveries)
        await resolve(resolver, message, { receiveCount, last: receiveCount >= MAX_RECEIVES, signal });
      return { failed: [] };
    },
  });
  queues.consume('layer', {
    concurrency: REGISTRIES * concurrency,
    perRegistry: concurrency,
    batchSize: 1,
    async handler(deliveries, signal) {
      for (const { message, receiveCount } of deliveries)
        await copyLayer({ ...common, sources, buffers, failedImages: skipped }, message, {
          receiveCount,
          last: receiveCount >= MAX_RECEIVES,
          deadline: NO_DEADLINE,
          signal,
        });
      return { failed: [] };
    },
  });
  const finalizer = {
    archive,
    attestor: run.attestor,
    onNotAttested: run.onNotAttested,
    record: (event: Parameters<Observe>[0]): Promise<void> => {
      observe(event);
      return Promise.resolve();
    },
  };
  const readers = new Lru<string, CachedReader>(READERS);
  const readerOf = (repository: string): CachedReader => {
    const reader = readers.get(repository) ?? cachedReader(receiptReader(archive, run.signal));
    readers.set(repository, reader);
    return reader;
  };
  queues.consume('finalize', {
    concurrency: FINALIZERS,
    batchSize: FINALIZE_BATCH,
    async handler(deliveries, signal) {
      const messages = deliveries.map(({ message }) => message);
      const began = performance.now();
      await finalize(finalizer, messages, { signal, reader: readerOf(messages[0]?.repository ?? '') });
      return { failed: [], restMs: Math.min((performance.now() - began) * REST, MAX_REST_MS) };
    },
  });

  const stop = (): void => {
    void queues.stop();
  };
  run.signal.addEventListener('abort', stop, { once: true });
  try {
    await queues.send('resolve', run.messages, { signal: run.signal });
    await queues.idle();
  } catch (error) {
    if (!run.signal.aborted) throw error;
  } finally {
    run.signal.removeEventListener('abort', stop);
    await queues.stop();
  }
}

/** One lane per blob across all registries, so that a blob is not fetched twice concurrently. */
function byDigest(queues: Queues): Queues {
  return {
    send: (queue, messages, options) => {
      const group = ({ message, group: asSent }: Outgoing): string =>
        message.type === 'layer' ? digestParts(message.blob.digest).hex : asSent;
      return queues.send(
        queue,
        messages.map((outgoing) => ({ ...outgoing, group: group(outgoing) })),
        options,
      );
    },
  };
}
