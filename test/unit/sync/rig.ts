/** The contexts of the three roles over a memory store and queues that only record messages. */
import { Archive } from '../../../lib/archive/archive.ts';
import type { Receipt } from '../../../lib/archive/receipt.ts';
import { ociLayout } from '../../../lib/archive/oci-layout.ts';
import { partSizeFor } from '../../../lib/store/parts.ts';
import type { ObjectStore, Part, Upload } from '../../../lib/store/store.ts';
import type { Deadline } from '../../../lib/sync/deadline.ts';
import { NO_DEADLINE } from '../../../lib/sync/deadline.ts';
import type { DeliveryOptions } from '../../../lib/sync/delivery.ts';
import type { BlobEvent, ImageEvent, MirrorEvent } from '../../../lib/sync/events.ts';
import { finalize } from '../../../lib/sync/finalizer/finalize.ts';
import { copyLayer } from '../../../lib/sync/layer/layer.ts';
import { resolve } from '../../../lib/sync/resolver/resolve.ts';
import { BufferPool } from '../../../lib/sync/transfer/buffer-pool.ts';
import type { Digest } from '../../../lib/oci/digest.ts';
import type {
  FinalizeMessage,
  Image as ImageAsked,
  LayerMessage,
  Message,
  Order,
  ResolveMessage,
} from '../../../lib/queue/messages.ts';
import { layerMessage } from '../../../lib/queue/outgoing.ts';
import { prepare } from '../../../lib/queue/prepare.ts';
import type { MessageOf, Outgoing, QueueName } from '../../../lib/queue/queue.ts';
import type { Sources } from '../../../lib/registry/source.ts';
import { createSources, type SourcesOptions } from '../../../lib/registry/sources.ts';
import { digestFor, IMAGE } from '../queue/samples.ts';
import type { Layer } from '../../kit/images.ts';
import { MemoryStore } from '../../kit/memory-store.ts';
import type { TestRegistry } from '../../kit/registry.ts';

/** A small part size, so that many parts are cheap. */
export const PART = 16 * 1024;

export const NEVER = new AbortController().signal;

export interface RigOptions {
  readonly store?: ObjectStore;
  readonly sources?: Sources;
  readonly registry?: SourcesOptions;
  readonly bufferBytes?: number;
  readonly maxUncompressed?: number;
  readonly now?: () => number;
}

export class Rig implements AsyncDisposable {
  readonly store: ObjectStore;
  readonly archive: Archive;
  readonly sources: Sources;
  readonly buffers: BufferPool;
  readonly events: MirrorEvent[] = [];
  /** The sent messages in order, without repetitions of a deduplication id. */
  readonly outgoing: { readonly queue: QueueName; readonly message: Message }[] = [];
  readonly records: ImageEvent[] = [];
  /** Whether each of those was marked as probably sent before. */
  readonly again: boolean[] = [];
  readonly #ids = new Set<string>();
  readonly #maxUncompressed: number | undefined;
  now: () => number;

  constructor(options: RigOptions = {}) {
    this.store = options.store ?? partStore();
    this.archive = new Archive(this.store, ociLayout);
    this.sources = options.sources ?? patientSources(options.registry);
    this.buffers = new BufferPool(options.bufferBytes ?? 4 * PART, partSizeFor(undefined, this.store.limits));
    this.#maxUncompressed = options.maxUncompressed;
    this.now = options.now ?? ((): number => 1_000_000);
  }

  get context() {
    return {
      archive: this.archive,
      sources: this.sources,
      buffers: this.buffers,
      queues: {
        send: (queue: QueueName, messages: readonly Outgoing[]): Promise<void> => {
          // As in every queue, a message that a reader would refuse is refused here.
          for (const { message, deduplicationId } of messages.map((one) => prepare(queue, one))) {
            if (this.#ids.has(deduplicationId)) continue;
            this.#ids.add(deduplicationId);
            this.outgoing.push({ queue, message });
          }
          return Promise.resolve();
        },
      },
      observe: (event: MirrorEvent): void => void this.events.push(event),
      record: (event: ImageEvent, again: boolean): Promise<void> => {
        this.records.push(event);
        this.again.push(again);
        return Promise.resolve();
      },
      lanes: () => 4,
      now: () => this.now(),
      maxUncompressed: this.#maxUncompressed,
    };
  }

  sent<Q extends QueueName>(queue: Q): MessageOf<Q>[] {
    return this.outgoing.filter((one) => one.queue === queue).map(({ message }) => message as MessageOf<Q>);
  }

  phases(): BlobEvent['phase'][] {
    return this.events
      .filter((event) => event.type === 'blob')
      .map(({ phase }) => phase)
      .filter((phase) => phase !== 'progress');
  }

  resolve(message: ResolveMessage, options: Partial<DeliveryOptions> = {}) {
    return resolve(this.context, message, { receiveCount: 1, last: false, signal: NEVER, ...options });
  }

  copy(
    message: LayerMessage,
    options: {
      readonly receiveCount?: number;
      readonly last?: boolean;
      readonly deadline?: Deadline;
      readonly signal?: AbortSignal;
    } = {},
  ): Promise<void> {
    return copyLayer(this.context, message, {
      receiveCount: 1,
      last: false,
      deadline: NO_DEADLINE,
      signal: NEVER,
      ...options,
    });
  }

  finalize(messages: readonly FinalizeMessage[]): Promise<void> {
    return finalize(this.context, messages, { signal: NEVER });
  }

  /** Delivers messages until there are none: layers first, and each finalize message alone. */
  async deliver(from = 0): Promise<void> {
    for (let at = from; at < this.outgoing.length; at += 1) {
      const { message } = this.outgoing[at]!;
      if (message.type === 'resolve') await this.resolve(message);
      else if (message.type === 'layer') await this.copy(message);
      else await this.finalize([message]);
    }
  }

  async blob(digest: Digest): Promise<Buffer | undefined> {
    const found = await this.store.get(ociLayout.blob(digest), { maxBytes: 1e9 });
    return found === undefined ? undefined : Buffer.from(found.bytes);
  }

  async uploads(): Promise<{ readonly upload: Upload; readonly parts: Part[] }[]> {
    const found = [];
    for await (const upload of this.store.uploads(''))
      found.push({ upload, parts: await Array.fromAsync(this.store.parts(upload)) });
    return found;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.sources.close();
  }
}

export function partStore(): MemoryStore {
  return new MemoryStore({ limits: { maxPartBytes: PART } });
}

/** Sources that decide on waits as usual, and skip them. */
function patientSources(options: SourcesOptions = {}): Sources {
  return createSources({
    retry: { tries: 3, baseMs: 1, capMs: 1 },
    random: () => 0,
    sleep: () => Promise.resolve(),
    ...options,
  });
}

export function orderFor(registry: Pick<TestRegistry, 'host'>, path = 'library/app'): Order {
  const source = `${registry.host}/${path}`;
  return { run: 'run-1', source, repository: source, platforms: 'all' };
}

/** A message for this layer, as the resolver sends it. */
export function messageFor(
  registry: Pick<TestRegistry, 'host'>,
  layer: Pick<Layer, 'digest' | 'mediaType' | 'size'>,
  options: {
    readonly look?: LayerMessage['look'];
    readonly size?: number | null;
    readonly urls?: readonly string[];
    readonly continuation?: number;
  } = {},
): LayerMessage {
  const { look = 'receipt', size = layer.size, urls, continuation = 0 } = options;
  const image: ImageAsked = { ...IMAGE, digest: digestFor('an image') };
  const blob = {
    digest: layer.digest,
    mediaType: layer.mediaType,
    ...(size === null ? {} : { size }),
    ...(urls === undefined ? {} : { urls }),
  };
  return { ...layerMessage(orderFor(registry), image, blob, { lanes: 4, look }).message, continuation };
}

/** The receipt of a gzip layer, with the fields of `lies` replaced. */
export function receiptOf(layer: Layer, lies: Partial<Receipt> = {}): Receipt {
  const { digest, size, diffId } = layer;
  return {
    version: 1,
    digest,
    size,
    diffIds: { sha256: diffId },
    compression: 'gzip',
    source: 's',
    verifiedAt: '2026-01-01T00:00:00.000Z',
    ...lies,
  };
}
