import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Archive } from '../../lib/archive/archive.ts';
import { ociLayout } from '../../lib/archive/oci-layout.ts';
import { landed, missing, type PartRange } from '../../lib/store/parts.ts';
import type { ObjectStore } from '../../lib/store/store.ts';
import { Failure } from '../../lib/core/failure.ts';
import { parseDigest } from '../../lib/oci/digest.ts';
import type { BlobSource, Sources } from '../../lib/registry/source.ts';
import { randomBytes } from '../kit/content.ts';
import { Faults } from '../kit/faults.ts';
import { layerOf, makeImage } from '../kit/images.ts';
import { startRegistry, type TestRegistry } from '../kit/registry.ts';
import { startS3Server } from '../kit/s3-server.ts';
import { tempFolder } from '../kit/temp.ts';
import { bring, openStore } from './one-blob.ts';
import { skippedFor } from '../kit/skipped.ts';

const KiB = 1024;
const STEP = 64 * KiB;

interface Scene {
  readonly partBytes: number;
  readonly size: number;
  /** The offsets at which the blob is cut. */
  readonly cuts: readonly number[];
  /** The number of kills at a random call, and the same number at a random time. */
  readonly kills: number;
  readonly env: Readonly<Record<string, string>>;
  /** A separate store for one attempt, by name. */
  readonly fresh: () => Promise<{ readonly name: string } & AsyncDisposable>;
}

/** Every multiple of 64 KiB, and one byte around each part's boundary. */
function cutsOf(size: number, partBytes: number, step: number): number[] {
  const cuts = new Set<number>();
  for (let at = 0; at < size; at += step) cuts.add(at);
  for (let at = partBytes; at < size; at += partBytes) for (const near of [at - 1, at, at + 1]) cuts.add(near);
  return [...cuts].sort((a, b) => a - b);
}

const server = await startS3Server();
afterAll(async () => {
  if (!('skipped' in server)) await server.close();
});

describe('a blob on its way into a folder', () => {
  const partBytes = 128 * KiB;
  const size = 5 * partBytes + 1000;
  cutAndKilled({
    partBytes,
    size,
    cuts: cutsOf(size, partBytes, STEP),
    kills: 8,
    env: {},
    async fresh() {
      const folder = await tempFolder();
      return { name: folder.path, [Symbol.asyncDispose]: () => folder.remove() };
    },
  });
});

describe('a blob on its way into S3', () => {
  if ('skipped' in server) {
    skippedFor(server.skipped);
    return;
  }
  // The smallest part of S3. Every multiple of 64 KiB takes minutes, so only the nightly run has all of them.
  const partBytes = 5 * KiB * KiB;
  const size = 2 * partBytes + 700_000;
  let taken = 0;
  cutAndKilled({
    partBytes,
    size,
    cuts: cutsOf(size, partBytes, process.env['MIRROR_SYNC_EVERY_FAULT'] === undefined ? 13 * STEP : STEP),
    kills: 4,
    env: server.env,
    async fresh() {
      taken += 1;
      const name = `s3://${await server.bucket()}/${taken}`;
      return { name, [Symbol.asyncDispose]: () => Promise.resolve() };
    },
  });
});

function cutAndKilled({ partBytes, size, cuts, kills, env, fresh }: Scene): void {
  const bytes = randomBytes(size, 77);
  const layer = layerOf(bytes, bytes, 'none');
  const digest = parseDigest(layer.digest);
  const key = ociLayout.blob(digest);
  let registry: TestRegistry;
  const before = new Map<string, string | undefined>();

  beforeAll(async () => {
    registry = await startRegistry();
    registry.push('team/big', makeImage({ layers: [layer] }), '1');
    for (const [name, value] of Object.entries(env)) {
      before.set(name, process.env[name]);
      process.env[name] = value;
    }
  });
  afterAll(async () => {
    await registry.close();
    for (const [name, value] of before)
      if (value === undefined) Reflect.deleteProperty(process.env, name);
      else process.env[name] = value;
  });

  /** The stored parts of an unfinished upload. */
  async function partsIn(store: ObjectStore): Promise<number[]> {
    for await (const upload of store.uploads(key)) {
      const parts = landed(size, partBytes, await Array.fromAsync(store.parts(upload)));
      return parts.map(({ number }) => number);
    }
    return [];
  }

  /**
   * Asserts that another run stores every byte and requests only the missing ranges of the blob. Without `settled`, the
   * server may still be storing parts of the killed process, so fewer ranges are acceptable.
   */
  async function mustGoOn(name: string, where: string, options: { readonly settled?: boolean } = {}): Promise<void> {
    await using opened = openStore(name, partBytes);
    const { store } = opened;
    const archive = new Archive(store, ociLayout);
    const there = await partsIn(store);
    const isComplete = (await store.head(key)) !== undefined;
    if (!isComplete) expect(await archive.receipt(digest), `${where}: no receipt before the proof`).toBeUndefined();

    registry.forgetRequests();
    const { outcomes } = await bring(registry.host, store);
    const [outcome] = outcomes;
    // A process that was killed late may have finished.
    const expected = options.settled === false && outcome?.status === 'unchanged' ? 'unchanged' : 'mirrored';
    expect(outcome?.reason ?? outcome?.status, where).toBe(expected);
    const found = await store.get(key, { maxBytes: size });
    expect(Buffer.compare(Buffer.from(found?.bytes ?? []), bytes), `${where}: the bytes`).toBe(0);
    expect(await archive.receipt(digest), where).toMatchObject({ digest, size, diffIds: { sha256: layer.diffId } });
    expect(await Array.fromAsync(store.uploads('')), `${where}: nothing is left on its way`).toEqual([]);

    const asked = registry.requests
      .filter((request) => request.digest === layer.digest && request.method === 'GET')
      .flatMap(({ range }) => partsOf(range));
    const parts = there.map((number) => ({ number, size: partSize(number), etag: '' }));
    const wanted = isComplete ? [] : missing(size, partBytes, parts).map(rangeOf);
    if (options.settled === false) expect(wanted, where).toEqual(expect.arrayContaining(asked));
    else expect(asked.toSorted(), `${where}: ${there.length} parts had landed`).toEqual(wanted.toSorted());
  }

  /** A request may be for several parts that follow each other. */
  function partsOf(range: string | undefined): string[] {
    const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(range ?? '') ?? [];
    if (first === undefined || last === undefined) return [range ?? 'all'];
    const within = missing(size, partBytes, []).filter(({ start }) => start >= Number(first) && start <= Number(last));
    const end = within.reduce((sum, part) => sum + part.size, Number(first)) - 1;
    return end === Number(last) ? within.map(rangeOf) : [`not whole parts: ${range ?? ''}`];
  }

  function partSize(number: number): number {
    return Math.min(partBytes, size - (number - 1) * partBytes);
  }

  // Upstream is unreachable beyond each offset in turn.
  test('a blob that is cut at any offset is completed by the next run', { timeout: 300_000 }, async () => {
    let resumed = 0;
    for (const cut of cuts) {
      await using target = await fresh();
      {
        await using opened = openStore(target.name, partBytes);
        const { store, haveLanded } = watched(opened.store);
        const whole = Math.floor(cut / partBytes);
        const { outcomes } = await bring(registry.host, store, {
          wrap: (sources) => deadBeyond(sources, cut, () => haveLanded(whole)),
        });
        expect(outcomes[0]?.status, `cut at ${cut}`).toBe('failed');
        const { length } = await partsIn(opened.store);
        expect(length, `cut at ${cut}: every part before it has landed`).toBe(whole);
        resumed += length;
      }
      await mustGoOn(target.name, `cut at ${cut}`);
    }
    expect(resumed).toBeGreaterThan(cuts.length / 2);
  });

  test(
    'a blob is completed by another process after one was killed before a random call',
    { timeout: 300_000 },
    async () => {
      const counted = new Faults();
      await using clean = await fresh();
      await using opened = openStore(clean.name, partBytes);
      await bring(registry.host, opened.store, { faults: counted });
      for (let kill = 0; kill < kills; kill += 1) {
        await using target = await fresh();
        // The times are spread over the run by a fixed sequence, so that a failure can be reproduced.
        const at = 8 + Math.floor(((kill + 0.37) / kills) * (counted.calls.length - 10));
        const script = join(import.meta.dirname, 'one-blob.child.ts');
        const child = spawn(process.execPath, [script, registry.host, target.name, String(partBytes), String(at)], {
          stdio: ['ignore', 'ignore', 'inherit'],
          env: { ...process.env, ...env },
        });
        const exit: unknown = await once(child, 'exit');
        expect(exit, `call ${at} of ${counted.calls.length}`).toEqual([null, 'SIGKILL']);
        await mustGoOn(target.name, `killed before call ${at}`);
      }
    },
  );

  // The process may be writing a part, appending to a journal, or renaming a file.
  test('a blob is completed after a process was killed at a random time', { timeout: 300_000 }, async () => {
    const start = async (name: string) => {
      const script = join(import.meta.dirname, 'one-blob.child.ts');
      const child = spawn(process.execPath, [script, registry.host, name, String(partBytes), 'ready'], {
        stdio: ['ignore', 'pipe', 'inherit'],
        env: { ...process.env, ...env },
      });
      await once(child.stdout, 'data');
      return child;
    };
    await using clean = await fresh();
    const undisturbed = await start(clean.name);
    const began = performance.now();
    await once(undisturbed.stdout, 'data');
    let whole = performance.now() - began;
    await once(undisturbed, 'exit');
    const random = randomFrom(77);
    let killed = 0;
    while (killed <= kills) {
      await using target = await fresh();
      const ms = random() * whole;
      const child = await start(target.name);
      const exited = once(child, 'exit');
      await sleep(ms);
      child.kill('SIGKILL');
      await exited;
      if (child.signalCode === 'SIGKILL') killed += 1;
      // It was faster than the first child, beside which other tests may have run.
      else whole = ms;
      await mustGoOn(target.name, `killed after ${ms} ms of ${whole}`, { settled: false });
    }
  });
}

/** Numbers from 0 to 1 by a seed (a linear congruential generator, Numerical Recipes). */
function randomFrom(seed: number): () => number {
  let state = seed;
  return () => (state = (state * 1_664_525 + 1_013_904_223) % 2 ** 32) / 2 ** 32;
}

function rangeOf({ start, size }: PartRange): string {
  return `bytes=${start}-${start + size - 1}`;
}

/** A store that notifies when this number of parts is stored. */
function watched(inner: ObjectStore): {
  readonly store: ObjectStore;
  readonly haveLanded: (count: number) => Promise<void>;
} {
  let count = 0;
  let notify = Promise.withResolvers<void>();
  const store = new Proxy(inner, {
    get(target, key) {
      if (key !== 'uploadPart') return Reflect.get(target, key, target) as unknown;
      return async (...of: Parameters<ObjectStore['uploadPart']>) => {
        const part = await target.uploadPart(...of);
        count += 1;
        notify.resolve();
        notify = Promise.withResolvers();
        return part;
      };
    },
  });
  return {
    store,
    haveLanded: async (wanted) => {
      while (count < wanted) await notify.promise;
    },
  };
}

/** Sources whose blobs break off at an offset, for every request, once `ready` returns true. */
function deadBeyond(sources: Sources, cut: number, ready: () => Promise<void>): Sources {
  const dead = async (): Promise<Failure> => {
    await ready();
    return new Failure({ operation: 'test', side: 'source', code: 'network', detail: 'it is dead' });
  };
  return new Proxy(sources, {
    get(target, name) {
      if (name !== 'repository') return Reflect.get(target, name, target) as unknown;
      return (repository: Parameters<Sources['repository']>[0]) => {
        const source = target.repository(repository);
        const blob = (...of: Parameters<typeof source.blob>): BlobSource => {
          const inner = source.blob(...of);
          return {
            async open(range, options) {
              if (range.start >= cut) throw await dead();
              const opened = await inner.open(range, options);
              const body = (async function* () {
                let at = range.start;
                for await (const chunk of opened.body) {
                  if (at + chunk.length > cut) {
                    yield chunk.subarray(0, cut - at);
                    throw await dead();
                  }
                  at += chunk.length;
                  yield chunk;
                }
              })();
              return { body, ranged: opened.ranged, total: opened.total, resumed: () => opened.resumed() };
            },
          };
        };
        return new Proxy(source, {
          get: (of, key) => {
            const value: unknown = Reflect.get(of, key, of);
            return key === 'blob' ? blob : typeof value === 'function' ? (value.bind(of) as unknown) : value;
          },
        });
      };
    },
  });
}
