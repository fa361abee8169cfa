import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, test } from 'vitest';
import { Archive } from '../../../lib/archive/archive.ts';
import { ociLayout } from '../../../lib/archive/oci-layout.ts';
import type { ObjectStore } from '../../../lib/store/store.ts';
import { resolve } from '../../../lib/sync/resolver/resolve.ts';
import type { Digest } from '../../../lib/oci/digest.ts';
import type { ResolveMessage } from '../../../lib/queue/messages.ts';
import { resolveMessage } from '../../../lib/queue/outgoing.ts';
import type { Source } from '../../../lib/registry/source.ts';
import { type Image, makeImage, makeLayer } from '../../kit/images.ts';
import { MemoryStore } from '../../kit/memory-store.ts';
import { NEVER } from './rig.ts';

const TAGS = 10_000;
const PAGE = 1_000;
const SLICES = TAGS / 100;

const ORDER = { run: 'run-1', source: 'example.com/app', repository: 'example.com/app', platforms: 'all' as const };

/** Counts of all requests. */
let calls = 0;

const layers = [makeLayer()];

/** Each tag is an image with its own config on a shared layer, created on request. */
function image(tag: string): Image {
  return makeImage({ layers, overrides: { config: { author: tag } } });
}

/** An upstream that keeps only the requested image. */
function upstream(): Source {
  const asked = new Map<Digest, Image>();
  const unused = (): never => {
    throw new Error('the resolver does not ask for this');
  };
  return {
    repository: ORDER.source,
    async *tags() {
      for (let from = 0; from < TAGS; from += PAGE) {
        calls += 1;
        yield await Promise.resolve(Array.from({ length: PAGE }, (_, index) => `v${from + index}`));
      }
    },
    resolve: unused,
    fetchTag(tag) {
      calls += 1;
      const found = image(tag);
      const { digest, manifest: bytes, mediaType, blobs } = found;
      for (const blob of blobs.keys()) asked.set(blob, found);
      return Promise.resolve({ digest, mediaType, bytes });
    },
    manifest: unused,
    smallBlob(digest) {
      calls += 1;
      const { config } = asked.get(digest)!;
      asked.delete(digest);
      return Promise.resolve(config);
    },
    blob: unused,
    referrers() {
      calls += 1;
      return Promise.resolve({ manifests: [], notes: [] });
    },
  };
}

/** A store that is always empty: it counts requests and stores nothing. */
function oblivious(): ObjectStore {
  return new Proxy(new MemoryStore(), {
    get(target, key) {
      const value: unknown = Reflect.get(target, key, target);
      if (typeof value !== 'function') return value;
      return (...args: unknown[]): unknown => {
        calls += 1;
        if (key === 'put') return Promise.resolve({ etag: '"0"', size: 0 });
        return Reflect.apply(value, target, args);
      };
    },
  });
}

/** The bytes in use. */
function heap(): number {
  collect();
  return process.memoryUsage().heapUsed;
}

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

// Each invocation lists tags or resolves a slice of a hundred. Neither its requests nor its memory grow with the
// number of tags.
test('ten thousand new tags are resolved in equal slices with constant memory', async () => {
  const slices: ResolveMessage[] = [];
  const sent = { resolve: 0, layer: 0, finalize: 0 };
  const source = upstream();
  const context = {
    archive: new Archive(oblivious(), ociLayout),
    sources: { repository: () => source, connections: () => 4, close: () => Promise.resolve() },
    queues: {
      send: (queue: keyof typeof sent, messages: readonly { readonly message: object }[]): Promise<void> => {
        calls += 1;
        sent[queue] += messages.length;
        if (queue === 'resolve') slices.push(...messages.map(({ message }) => message as ResolveMessage));
        return Promise.resolve();
      },
    },
    observe: () => undefined,
    pending: () => {
      calls += 1;
      return Promise.resolve();
    },
    lanes: () => 4,
    now: Date.now,
  };
  const invoke = async (message: ResolveMessage): Promise<number> => {
    const before = calls;
    await resolve(context, message, { receiveCount: 1, last: false, signal: NEVER });
    return calls - before;
  };

  const pages = await invoke(resolveMessage(ORDER, { kind: 'list' }).message);
  // A page and its message each, and the tag index, which shows whether checks for referrers are due.
  expect(pages).toBe(2 * (TAGS / PAGE) + 1);
  expect(slices).toHaveLength(SLICES);

  const asked: number[] = [];
  const heaps: number[] = [];
  for (const [index, slice] of slices.entries()) {
    asked.push(await invoke(slice));
    if (index % 10 === 9) heaps.push(heap());
  }
  expect(new Set(asked).size).toBe(1);
  expect(sent).toEqual({ resolve: SLICES, layer: TAGS, finalize: 0 });
  const [first = 0, ...others] = heaps;
  expect(Math.max(...others) - first).toBeLessThan(4e6);
});
