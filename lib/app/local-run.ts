/**
 * The three roles in one process, over an in-process queue: what the functions are on Lambda. It only wires.
 */
import { asFailure } from '../core/failure.ts';
import type { Archive } from '../archive/archive.ts';
import { partSizeFor } from '../store/parts.ts';
import { cachedReader } from '../sync/cached-reader.ts';
import { receiptReader } from '../sync/closure.ts';
import { NO_DEADLINE } from '../sync/deadline.ts';
import type { ResolverContext } from '../sync/context.ts';
import type { Observe } from '../sync/events.ts';
import { failedImages } from '../sync/failures.ts';
import { finalize } from '../sync/finalizer/finalize.ts';
import { failLayer } from '../sync/layer/fail-layer.ts';
import { copyLayer } from '../sync/layer/layer.ts';
import { type Limits, Quota } from '../sync/resolver/quota.ts';
import { resolve } from '../sync/resolver/resolve.ts';
import { Window } from '../sync/transfer/window.ts';
import { digestParts } from '../oci/digest.ts';
import { InProcessQueues } from '../queue/in-process/in-process.ts';
import type { Outgoing, Queues } from '../queue/queue.ts';
import type { Sources } from '../registry/source.ts';

export interface LocalRun {
  readonly archive: Archive;
  readonly sources: Sources;
  readonly observe: Observe;
  readonly signal: AbortSignal;
  /** Blobs on their way at once. */
  readonly concurrency: number;
  readonly windowBytes?: number;
  /** How long a failed message stays away, in milliseconds. */
  readonly retryMs?: number;
  /** Puts something around the queue that the roles send to. */
  readonly wrapQueues?: (queues: Queues) => Queues;
  /** Which tags are wanted where all are listed; all of them unless told. */
  readonly chooseTags?: NonNullable<ResolverContext['chooseTags']>;
  /** What the operator allows. */
  readonly limits?: Limits | undefined;
  /** What to resolve. */
  readonly messages: readonly Outgoing[];
}

/**
 * Memory for parts on their way: eight of a folder, six of S3, whose parts are larger. The process stays below 200 MB
 * with it, and below 256 MB where it has the S3 client as well (bench/README.md).
 */
const WINDOW_BYTES = 32 * 1024 * 1024;
const WINDOW_PARTS = 6;

function windowFor({ store }: Archive): Window {
  return new Window(Math.max(WINDOW_BYTES, WINDOW_PARTS * partSizeFor(undefined, store.limits)));
}

/**
 * Deliveries of a message in all. The registry client and the store are patient themselves; this is for what broke in
 * between.
 */
const MAX_RECEIVES = 2;

const RESOLVERS = 4;
const FINALIZERS = 2;

/** Messages that a finalizer commits in one write; the more, the fewer times a large tag index is rewritten. */
const FINALIZE_BATCH = 200;

/**
 * A repository's finalizer rests for as many times as long as it was at work, at most so many milliseconds: so a tenth of the
 * time goes into writing a large tag index, however large it is.
 */
const REST = 9;
const MAX_REST_MS = 1_000;

/** How many blobs are fetched at once is `concurrency` here, and not how many lanes a host has: see `byDigest`. */
const LANES = 1_024;

/** Runs until every message is dealt with, or the signal is aborted; nothing is left running afterwards. */
export async function runLocal(run: LocalRun): Promise<void> {
  const { archive, sources, observe, concurrency } = run;
  const queues: InProcessQueues = new InProcessQueues({
    maxReceives: MAX_RECEIVES,
    ...(run.retryMs === undefined ? {} : { retryMs: run.retryMs }),
    async deadLetter({ delivery: { message }, failure }, signal) {
      const reason = failure ?? asFailure(new Error('it failed on every delivery'), 'handle message', 'queue');
      if (message.type === 'layer') await failLayer({ queues, observe }, message, reason, signal);
      else failedImages(message, reason).forEach(observe);
    },
  });
  const common = {
    archive,
    queues: byDigest(run.wrapQueues?.(queues) ?? queues),
    observe,
    lanes: () => LANES,
    now: () => Date.now(),
  };
  const window = run.windowBytes === undefined ? windowFor(archive) : new Window(run.windowBytes);

  const resolver = {
    ...common,
    sources,
    quota: new Quota(run.limits),
    ...(run.chooseTags === undefined ? {} : { chooseTags: run.chooseTags }),
  };
  queues.consume('resolve', {
    concurrency: RESOLVERS,
    batchSize: 1,
    async handler(deliveries, signal) {
      for (const { message, receiveCount } of deliveries)
        await resolve(resolver, message, { receiveCount, last: receiveCount >= MAX_RECEIVES, signal });
      return { failed: [] };
    },
  });
  queues.consume('layer', {
    concurrency,
    batchSize: 1,
    async handler(deliveries, signal) {
      for (const { message, receiveCount } of deliveries)
        await copyLayer({ ...common, sources, window }, message, {
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
    record: (event: Parameters<Observe>[0]): Promise<void> => {
      observe(event);
      return Promise.resolve();
    },
  };
  const reader = cachedReader(receiptReader(archive, run.signal));
  queues.consume('finalize', {
    concurrency: FINALIZERS,
    batchSize: FINALIZE_BATCH,
    async handler(deliveries, signal) {
      const messages = deliveries.map(({ message }) => message);
      const began = performance.now();
      await finalize(finalizer, messages, { signal, reader });
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

/**
 * A lane for each blob, whatever host it comes from: here lanes only keep one blob from being fetched twice at once, and
 * two registries may have the same one.
 */
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
