import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Failure, type FailureCode, type Remedy } from '../../../lib/core/failure.ts';
import { Semaphore } from '../../../lib/core/semaphore.ts';
import { partSizeFor } from '../../../lib/store/parts.ts';
import type { ObjectStore, Part, Upload } from '../../../lib/store/store.ts';
import { type Deadline, NO_DEADLINE } from '../../../lib/sync/deadline.ts';
import { download } from '../../../lib/sync/transfer/download.ts';
import { resume } from '../../../lib/sync/transfer/resume.ts';
import type { Transfer } from '../../../lib/sync/transfer/transfer.ts';
import { BufferPool } from '../../../lib/sync/transfer/buffer-pool.ts';
import { digestOf } from '../../../lib/oci/digest.ts';
import { compress } from '../../kit/compress.ts';
import { randomBytes } from '../../kit/content.ts';
import { countCalls, Faults } from '../../kit/faults.ts';
import { MemoryStore } from '../../kit/memory-store.ts';
import { FakeBlob, type FakeOptions } from './fake-blob.ts';

const PART = 10_000;
const KEY = 'blobs/sha256/x';
const PLAIN = 'application/vnd.oci.image.layer.v1.tar';
const GZIP = `${PLAIN}+gzip`;

function storeOf(partBytes = PART): MemoryStore {
  return new MemoryStore({ limits: { maxPartBytes: partBytes } });
}

interface Setting {
  readonly bytes: Buffer;
  readonly store?: ObjectStore;
  readonly source?: FakeBlob;
  readonly fake?: FakeOptions;
  readonly bufferBytes?: number;
  readonly buffers?: BufferPool;
  readonly deadline?: Deadline;
  readonly signal?: AbortSignal;
  readonly mediaType?: string;
  /** null if the descriptor has no size. */
  readonly size?: number | null;
}

function transferOf(setting: Setting): Transfer & { readonly source: FakeBlob } {
  const { bytes, store = storeOf(), mediaType = PLAIN, size = bytes.length, fake = {} } = setting;
  const partSize = partSizeFor(undefined, store.limits);
  return {
    store,
    key: KEY,
    expected: { digest: digestOf(bytes), mediaType, ...(size === null ? {} : { size }) },
    source: setting.source ?? new FakeBlob(bytes, fake),
    registry: 'registry.example',
    buffers: setting.buffers ?? new BufferPool(setting.bufferBytes ?? 4 * partSize, partSize),
    deadline: setting.deadline ?? NO_DEADLINE,
    signal: setting.signal ?? new AbortController().signal,
    onBytes: () => undefined,
    onPart: () => undefined,
  };
}

/** Parts are stored one after the other, and each takes a few turns of the event loop. */
function slow(store: MemoryStore): MemoryStore {
  const uploadPart = store.uploadPart.bind(store);
  let last: Promise<unknown> = Promise.resolve();
  store.uploadPart = (...args): ReturnType<typeof uploadPart> => {
    const next = last.then(async () => {
      for (let left = 5; left > 0; left -= 1) await new Promise(setImmediate);
      return uploadPart(...args);
    });
    last = next.catch(() => undefined);
    return next;
  };
  return store;
}

async function objectIn(store: ObjectStore): Promise<Uint8Array | undefined> {
  return (await store.get(KEY, { maxBytes: 1e9 }))?.bytes;
}

async function uploadsIn(store: ObjectStore): Promise<{ readonly upload: Upload; readonly parts: Part[] }[]> {
  const found = [];
  for await (const upload of store.uploads(''))
    found.push({ upload, parts: await Array.fromAsync(store.parts(upload)) });
  return found;
}

/** Asserts that this transfer holds nothing any more. */
function expectLetGo({ buffers, source }: { readonly buffers: BufferPool; readonly source: FakeBlob }): void {
  expect(buffers.usedBytes).toBe(0);
  expect(source.held).toBe(0);
}

function fault(code: FailureCode, remedy?: Remedy): Failure {
  return new Failure({
    operation: 'test',
    side: 'source',
    code,
    detail: 'on purpose',
    ...(remedy === undefined ? {} : { remedy }),
  });
}

describe('download', () => {
  // Sizes lie around the boundaries of parts. Registries support ranges or not, and declare a length or not. Windows
  // hold from less than a part to several parts.
  test('stores every byte for any size, registry and window', async () => {
    const size = fc.oneof(
      fc.constantFrom(0, 1, PART - 1, PART, PART + 1, 2 * PART - 1, 2 * PART, 2 * PART + 1, 5 * PART),
      fc.nat(6 * PART),
    );
    const setting = fc.record({
      size,
      ranged: fc.boolean(),
      total: fc.boolean(),
      said: fc.boolean(),
      chunk: fc.integer({ min: 300, max: 2 * PART }),
      bufferBytes: fc.integer({ min: 1, max: 5 * PART }),
      turns: fc.array(fc.nat(3), { minLength: 1, maxLength: 9 }),
      kind: fc.constantFrom('none', 'gzip'),
    });
    await fc.assert(
      fc.asyncProperty(setting, async ({ size: length, said, bufferBytes, turns, kind, ...fake }) => {
        const bytes = compress(randomBytes(length, length), kind);
        let turn = 0;
        const next = (): number => turns[(turn += 1) % turns.length] ?? 0;
        const transfer = transferOf({
          bytes,
          fake: { ...fake, turns: next },
          bufferBytes,
          mediaType: kind === 'gzip' ? GZIP : PLAIN,
          size: said ? bytes.length : null,
        });
        const done = await download(transfer);
        expect(done).toMatchObject({
          kind: 'proven',
          proof: { size: bytes.length, diffIds: { sha256: digestOf(randomBytes(length, length)) } },
        });
        expect(Buffer.from((await objectIn(transfer.store))!).equals(bytes)).toBe(true);
        expect(await uploadsIn(transfer.store)).toEqual([]);
        expectLetGo(transfer);
      }),
      { numRuns: 120 },
    );
  });

  test.each([
    [1, ['put']],
    [PART, ['put']],
    [PART + 1, ['createUpload', 'uploadPart', 'uploadPart', 'completeUpload']],
    [4 * PART, ['createUpload', ...Array.from({ length: 4 }, () => 'uploadPart'), 'completeUpload']],
  ])('%i bytes cost the store one request per part, plus two if there are several', async (size, expected) => {
    const { port, faults } = countCalls(storeOf());
    const transfer = transferOf({ bytes: randomBytes(size, 1), store: port });
    await download(transfer);
    expect(faults.calls.map((call) => /\.(\w+)/.exec(call)?.[1])).toEqual(expected);
    expect(transfer.source.opened).toHaveLength(Math.ceil(size / PART));
  });

  test('requests no range before it has memory for it', async () => {
    const transfer = transferOf({ bytes: randomBytes(10 * PART, 1), bufferBytes: 3 * PART, fake: { turns: () => 2 } });
    await download(transfer);
    expect(transfer.source.mostOpen).toBe(3);
  });

  /** The requested parts. */
  const asked = ({ opened }: FakeBlob): number[] => opened.map(({ start, end = NaN }) => (end - start) / PART);

  test('asks a source that is faster than the store for many parts at once', async () => {
    const bytes = randomBytes(50 * PART, 1);
    const store = slow(storeOf());
    const transfer = transferOf({ bytes, store, bufferBytes: 4 * PART });
    expect(await download(transfer)).toMatchObject({ kind: 'proven' });
    expect(asked(transfer.source)).toEqual([1, 1, 1, 1, 1, 45]);
    expect(Buffer.from((await objectIn(store))!).equals(bytes)).toBe(true);
    expectLetGo(transfer);
  });

  test('asks a source that is slower than the store for one part per request, concurrently', async () => {
    const transfer = transferOf({ bytes: randomBytes(50 * PART, 1), bufferBytes: 4 * PART, fake: { turns: () => 5 } });
    await download(transfer);
    expect(asked(transfer.source)).toEqual(Array.from({ length: 50 }, () => 1));
    expect(transfer.source.mostOpen).toBe(4);
  });

  test('does not take concurrent parts that arrive at the same moment for a fast source', async () => {
    const bytes = randomBytes(20 * PART, 1);
    let responses = 0;
    // Responses come at once, and chunks do not.
    const turns = (): number => {
      const isResponse = source.opened.length > responses;
      responses = source.opened.length;
      return isResponse ? 0 : 50;
    };
    const source: FakeBlob = new FakeBlob(bytes, { turns });
    const transfer = transferOf({ bytes, source, store: slow(storeOf()), bufferBytes: 4 * PART });
    await download(transfer);
    expect(asked(source)).toEqual(Array.from({ length: 20 }, () => 1));
  });

  test('ends a request for many parts when the source slows down, and asks for the rest concurrently', async () => {
    const bytes = randomBytes(50 * PART, 1);
    let turns = 0;
    const before = (offset: number): void => void (turns = offset < 12 * PART ? 0 : 50);
    const transfer = transferOf({
      bytes,
      store: slow(storeOf()),
      bufferBytes: 4 * PART,
      fake: { before, turns: () => turns },
    });
    expect(await download(transfer)).toMatchObject({ kind: 'proven' });
    const { opened, mostOpen } = transfer.source;
    expect(asked(transfer.source).slice(0, 8)).toEqual([1, 1, 1, 1, 1, 45, 1, 1]);
    expect(opened[6]!.start).toBeLessThan(opened[5]!.end!);
    expect(mostOpen).toBe(4);
    expect(Buffer.from((await objectIn(transfer.store))!).equals(bytes)).toBe(true);
    expectLetGo(transfer);
  });

  test('asks for at most 64 MiB per request', async () => {
    const MiB = 1024 * 1024;
    const store = slow(storeOf(MiB));
    const transfer = transferOf({ bytes: Buffer.alloc(200 * MiB), store, bufferBytes: 4 * MiB, fake: { chunk: MiB } });
    await download(transfer);
    const sizes = transfer.source.opened.map(({ start, end = NaN }) => (end - start) / MiB);
    expect(sizes).toEqual([1, 1, 1, 1, 1, 64, 64, 64, 3]);
  });

  test.each([
    ['fewer', -1],
    ['more', 1],
  ])('a run of parts with %s bytes than requested is refused', async (how, by) => {
    const bytes = randomBytes(50 * PART, 1);
    const longer = new FakeBlob(Buffer.concat([bytes, Buffer.alloc(1)]));
    const transfer = transferOf({ bytes, source: longer, store: slow(storeOf()), bufferBytes: 4 * PART });
    const { source } = transfer;
    const open = source.open.bind(source);
    source.open = async (range, options) => {
      const long = (range.end ?? 0) - range.start > PART;
      const body = await open(long ? { ...range, end: (range.end ?? 0) + by } : range, options);
      return body;
    };
    await expect(download(transfer)).rejects.toMatchObject({
      code: 'range-mismatch',
      message: expect.stringContaining(how) as unknown,
    });
    expectLetGo(transfer);
  });

  // Six blobs at once share two connections and the memory of two parts.
  test.each([
    ['ranges', {}],
    ['streams of unknown length', { total: false, size: null }],
    ['streams of a registry that ignores ranges', { ranged: false }],
    ['both', 'both'],
  ] as const)('blobs that share connections and memory do not deadlock: %s', async (_, kind) => {
    for (let seed = 0; seed < 30; seed += 1) {
      const buffers = new BufferPool(2 * PART, PART);
      const connections = new Semaphore(2);
      const store = storeOf();
      const transfers = Array.from({ length: 6 }, (__, n) => {
        const bytes = randomBytes(5 * PART, n);
        const stream = kind === 'both' ? n % 2 === 0 : 'ranged' in kind || 'size' in kind;
        let turn = seed + n;
        const turns = (): number => (turn = (turn * 7 + 3) % 11) % 4;
        const unknown = kind === 'both' ? stream : 'size' in kind;
        const fake = { connections, turns, ranged: !(stream && !unknown), total: !unknown };
        return {
          ...transferOf({ bytes, store, buffers, fake, size: unknown ? null : bytes.length }),
          key: `blob-${n}`,
        };
      });
      const done = Promise.all(transfers.map((transfer) => download(transfer)));
      let over = false as boolean;
      void done.finally(() => (over = true)).catch(() => undefined);
      for (let turn = 0; turn < 20_000 && !over; turn += 1) await new Promise(setImmediate);
      expect(over, `seed ${seed}`).toBe(true);
      await done;
      expect([buffers.usedBytes, connections.free]).toEqual([0, 2]);
    }
  });

  test.each([
    ['shorter', -1],
    ['longer', 1],
  ])('a blob that is %s than its descriptor is refused', async (_, by) => {
    for (const size of [100, PART, 3 * PART, 3 * PART + 1])
      for (const ranged of [true, false]) {
        const bytes = randomBytes(size, 1);
        const told = size - by;
        // The registry client enforces the size of the descriptor; this fake does not.
        const transfer = transferOf({ bytes, size: told, fake: { ranged } });
        await expect(download(transfer)).rejects.toMatchObject({
          code: expect.stringMatching(/^(size-mismatch|range-mismatch|digest-mismatch(-resumed)?)$/),
        });
        expect(await objectIn(transfer.store)).toBeUndefined();
        expect(await uploadsIn(transfer.store)).toEqual([]);
        expectLetGo(transfer);
      }
  });

  // It exceeds the parts of an upload.
  test('an endless blob of unknown size is too large', async () => {
    const store = new MemoryStore({ limits: { maxPartBytes: PART, maxParts: 3 } });
    const transfer = transferOf({ bytes: randomBytes(3 * PART + 1, 1), store, size: null });
    await expect(download(transfer)).rejects.toMatchObject({ code: 'too-large', remedy: 'never' });
    expect(await uploadsIn(store)).toEqual([]);
    expectLetGo(transfer);
    const fits = transferOf({ bytes: randomBytes(3 * PART, 1), store, size: null });
    expect(await download(fits)).toMatchObject({ kind: 'proven' });
  });

  test('a digest mismatch completes nothing and discards all parts', async () => {
    const uploaded = ['createUpload', 'uploadPart', 'uploadPart', 'uploadPart', 'abortUpload'];
    for (const { size, inOnePiece, calls, code } of [
      { size: PART, inOnePiece: false, calls: [], code: 'digest-mismatch' },
      { size: 3 * PART, inOnePiece: true, calls: uploaded, code: 'digest-mismatch' },
      // One of the responses may be right.
      { size: 3 * PART, inOnePiece: false, calls: uploaded, code: 'digest-mismatch-resumed' },
    ]) {
      const bytes = randomBytes(size, 1);
      const wrong = Buffer.from(bytes);
      wrong[size - 1]! ^= 1;
      const store = storeOf();
      const { port, faults } = countCalls(store);
      const transfer = transferOf({ bytes, store: port, source: new FakeBlob(wrong) });
      await expect(download({ ...transfer, inOnePiece })).rejects.toMatchObject({ code });
      expect(faults.calls.map((call) => /\.(\w+)/.exec(call)?.[1])).toEqual(calls);
      expect(await uploadsIn(store)).toEqual([]);
      expectLetGo(transfer);
    }
  });

  // Each response is consistent, and the combination is not.
  test('a mismatch after a resumed body is retried', async () => {
    const bytes = randomBytes(3 * PART, 1);
    const wrong = Buffer.from(bytes);
    wrong[5]! ^= 1;
    const transfer = transferOf({ bytes, source: new FakeBlob(wrong, { resumed: 1 }) });
    await expect(download(transfer)).rejects.toMatchObject({ code: 'digest-mismatch-resumed', remedy: 'restart' });
    expect(await uploadsIn(transfer.store)).toEqual([]);
  });

  // The body breaks in the third part. Only a failure that is retried keeps the stored parts.
  test.each<[Remedy, number]>([
    ['retry', 1],
    ['restart', 0],
    ['never', 0],
  ])('a failure with the remedy "%s" leaves %i upload', async (remedy, uploads) => {
    const bytes = randomBytes(6 * PART, 1);
    const before = (offset: number): void => {
      if (offset >= 2 * PART && offset < 3 * PART) throw fault('network', remedy);
    };
    const transfer = transferOf({ bytes, fake: { before, turns: () => 1 } });
    await expect(download(transfer)).rejects.toMatchObject({ code: 'network' });
    expect(await uploadsIn(transfer.store)).toHaveLength(uploads);
    expectLetGo(transfer);
  });

  // The store fails at each call, and a body breaks at each chunk. Every buffer is returned, and no unproven object
  // exists.
  test.each(['before', 'after'] as const)(
    'after a failure of any call (%s its effect), no buffer is held',
    async (when) => {
      const bytes = randomBytes(4 * PART, 1);
      for (const ranged of [true, false])
        for (const code of ['io', 'no-space'] as const)
          for (let at = 1; ; at += 1) {
            const store = storeOf();
            const faults = new Faults({ at, when, act: fault(code) });
            const source = new FakeBlob(bytes, { ranged, chunk: 4000, turns: () => 1 });
            const transfer = { ...transferOf({ bytes, store: faults.wrap(store, 'store') }), source };
            const done = await download({ ...transfer, source: faults.wrap(source, 'source') }).catch(
              (error: unknown) => error as Failure,
            );
            expectLetGo(transfer);
            const object = await objectIn(store);
            if (object !== undefined) expect(Buffer.from(object).equals(bytes)).toBe(true);
            if (!faults.fired) break;
            // A failure to abort an upload that is not needed does not fail the transfer: the lifecycle rule removes
            // it.
            if (!(done instanceof Failure)) expect(faults.calls[at - 1]).toMatch(/abortUpload|return/);
            else expect(done.code).toBe(code);
            if (code === 'no-space') {
              // Only an upload whose creation got no response may be left.
              const left = (await uploadsIn(store)).flatMap(({ parts }) => parts);
              expect(left).toEqual([]);
            }
          }
    },
  );

  test('an abort at any chunk releases everything and keeps the stored parts', async () => {
    const bytes = randomBytes(4 * PART, 1);
    for (const ranged of [true, false])
      for (let at = 1; at <= 16; at += 1) {
        const controller = new AbortController();
        const reason = new DOMException('stop', 'AbortError');
        let chunks = 0;
        const before = (): void => {
          chunks += 1;
          if (chunks === at) controller.abort(reason);
        };
        const fake = { ranged, before, chunk: 2500, turns: () => 1 };
        const transfer = transferOf({ bytes, fake, signal: controller.signal });
        await expect(download(transfer)).rejects.toMatchObject({ code: 'aborted' });
        expectLetGo(transfer);
        expect(await objectIn(transfer.store)).toBeUndefined();
      }
  });

  test('a transfer that is aborted before its start sends no request', async () => {
    const { port, faults } = countCalls(storeOf());
    const signal = AbortSignal.abort(new DOMException('stop', 'AbortError'));
    const transfer = transferOf({ bytes: randomBytes(3 * PART, 1), store: port, signal });
    await expect(download(transfer)).rejects.toMatchObject({ code: 'aborted' });
    expect(faults.calls).toEqual([]);
    expect(transfer.source.opened).toEqual([]);
  });
});

describe('near its deadline', () => {
  /** A deadline that is near once this number of parts is stored. */
  function after(store: MemoryStore, parts: number): { readonly port: ObjectStore; readonly deadline: Deadline } {
    const { port, faults } = countCalls(store);
    const landed = (): number => faults.calls.filter((call) => call.includes('uploadPart')).length;
    return { port, deadline: { ...NO_DEADLINE, near: () => landed() >= parts } };
  }

  test('a download requests no new range, and the parts in flight are stored', async () => {
    const bytes = randomBytes(10 * PART, 1);
    const store = storeOf();
    const { port, deadline } = after(store, 3);
    const transfer = transferOf({ bytes, store: port, deadline, bufferBytes: 2 * PART, fake: { turns: () => 1 } });
    expect(await download(transfer)).toEqual({ kind: 'continue', resumable: true });
    expectLetGo(transfer);
    const [left] = await uploadsIn(store);
    const numbers = left!.parts.map(({ number }) => number);
    expect(numbers.length).toBe(transfer.source.opened.length);
    expect(numbers.length).toBeLessThanOrEqual(5);
    expect(await objectIn(store)).toBeUndefined();

    // The next invocation requests exactly the missing parts.
    const next = transferOf({ bytes, store });
    const done = await resume({ ...next, upload: left!.upload, landed: left!.parts });
    expect(done).toEqual({ kind: 'assembled' });
    const missing = Array.from({ length: 10 }, (_, n) => n + 1).filter((n) => !numbers.includes(n));
    expect(next.source.opened.map(({ start }) => start / PART + 1)).toEqual(missing);
    expect(Buffer.from((await objectIn(store))!).equals(bytes)).toBe(true);
    expectLetGo(next);
  });

  test('a range that waits for a buffer is not requested after the deadline', async () => {
    const bytes = randomBytes(4 * PART, 1);
    const store = storeOf();
    const buffers = new BufferPool(2 * PART, PART);
    let near = false;
    const held = await buffers.take(2 * PART);
    const deadline = { ...NO_DEADLINE, near: () => near };
    const upload = await store.createUpload(KEY, { partSize: PART });
    const transfer = transferOf({ bytes, store, buffers, deadline });
    const resuming = resume({ ...transfer, upload, landed: [] });
    await new Promise(setImmediate);
    near = true;
    buffers.give(held, false);
    expect(await resuming).toEqual({ kind: 'continue', resumable: true });
    expect(transfer.source.opened).toEqual([]);
    expectLetGo(transfer);
  });

  test('a run of parts stops at the end of a part and keeps the received parts', async () => {
    const bytes = randomBytes(50 * PART, 1);
    const store = slow(storeOf());
    const { port, deadline } = after(store, 14);
    const transfer = transferOf({ bytes, store: port, deadline, bufferBytes: 4 * PART });
    expect(await download(transfer)).toEqual({ kind: 'continue', resumable: true });
    expectLetGo(transfer);
    expect(transfer.source.opened.at(-1)).toEqual({ start: 5 * PART, end: 50 * PART });
    const [left] = await uploadsIn(store);
    expect(left!.parts.map(({ number }) => number)).toEqual(Array.from(left!.parts, (_, index) => index + 1));
    expect(left!.parts.length).toBeGreaterThanOrEqual(14);
    expect(left!.parts.length).toBeLessThan(20);
  });

  test('a single stream stops between two parts and keeps the complete parts', async () => {
    const bytes = randomBytes(6 * PART, 1);
    const store = storeOf();
    const { port, deadline } = after(store, 2);
    const transfer = transferOf({ bytes, store: port, deadline, fake: { ranged: false, turns: () => 1 } });
    expect(await download(transfer)).toEqual({ kind: 'continue', resumable: false });
    expectLetGo(transfer);
    const [left] = await uploadsIn(store);
    expect(left!.parts.every(({ size }) => size === PART)).toBe(true);
  });

  // The registry is too slow, so another invocation continues with the stored parts.
  test.each(['download', 'resume'] as const)('parts that are not stored in time are dropped: %s', async (how) => {
    const bytes = randomBytes(6 * PART, 1);
    const store = storeOf();
    const over = new AbortController();
    const before = (offset: number): void => {
      if (offset === 4 * PART + 5_000) over.abort(new DOMException('over', 'TimeoutError'));
    };
    const connections = new Semaphore(1);
    const deadline = { ...NO_DEADLINE, over: over.signal };
    const transfer = transferOf({ bytes, store, deadline, fake: { before, connections, turns: () => 1 } });
    const done =
      how === 'download'
        ? await download(transfer)
        : await resume({ ...transfer, upload: await store.createUpload(KEY, { partSize: PART }), landed: [] });
    expect(done).toEqual({ kind: 'continue', resumable: true });
    expectLetGo(transfer);
    const [left] = await uploadsIn(store);
    expect(left!.parts.map(({ number }) => number)).toEqual([1, 2, 3, 4]);
    expect(await objectIn(store)).toBeUndefined();
  });

  test('a body that was opened and never read is closed', async () => {
    const deadline = { ...NO_DEADLINE, near: () => true };
    const transfer = transferOf({ bytes: randomBytes(3 * PART, 1), deadline });
    expect(await download(transfer)).toEqual({ kind: 'continue', resumable: true });
    expectLetGo(transfer);
  });

  test('a blob of a single part is finished', async () => {
    const bytes = randomBytes(PART, 1);
    const transfer = transferOf({ bytes, deadline: { ...NO_DEADLINE, near: () => true } });
    expect(await download(transfer)).toMatchObject({ kind: 'proven' });
  });
});

describe('resume', () => {
  // Any set of parts is stored, some of them with another size than planned.
  test('fetches exactly the missing parts, including gaps', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: PART + 1, max: 6 * PART }),
        fc.subarray([1, 2, 3, 4, 5, 6]),
        fc.subarray([1, 2, 3, 4, 5, 6]),
        fc.integer({ min: 1, max: 4 * PART }),
        async (size, there, short, bufferBytes) => {
          const bytes = randomBytes(size, size);
          const store = storeOf();
          const upload = await store.createUpload(KEY, { partSize: PART });
          const count = Math.ceil(size / PART);
          const whole: number[] = [];
          for (const number of there.filter((n) => n <= count)) {
            const part = bytes.subarray((number - 1) * PART, number * PART);
            const cut = short.includes(number);
            await store.uploadPart(upload, number, cut ? part.subarray(1) : part);
            if (!cut) whole.push(number);
          }
          const landed = await Array.fromAsync(store.parts(upload));
          const transfer = transferOf({ bytes, store, bufferBytes, fake: { turns: () => 1 } });
          expect(await resume({ ...transfer, upload, landed })).toEqual({ kind: 'assembled' });
          expect(transfer.source.opened.map(({ start }) => start / PART + 1)).toEqual(
            Array.from({ length: count }, (_, n) => n + 1).filter((n) => !whole.includes(n)),
          );
          expect(Buffer.from((await objectIn(store))!).equals(bytes)).toBe(true);
          expectLetGo(transfer);
        },
      ),
      { numRuns: 60 },
    );
  });

  test('does not replace an existing object', async () => {
    const bytes = randomBytes(3 * PART, 1);
    const store = storeOf();
    const upload = await store.createUpload(KEY, { partSize: PART });
    await store.put(KEY, Buffer.from('proven'));
    const transfer = transferOf({ bytes, store });
    await expect(resume({ ...transfer, upload, landed: [] })).rejects.toMatchObject({ code: 'precondition-failed' });
    expect(Buffer.from((await objectIn(store))!).toString()).toBe('proven');
    expectLetGo(transfer);
  });

  // The other writer has uploaded the same bytes again.
  test('uses the new ETag of a part that another writer replaced', async () => {
    const bytes = randomBytes(3 * PART, 1);
    const store = storeOf();
    const upload = await store.createUpload(KEY, { partSize: PART });
    const complete = store.completeUpload.bind(store);
    let completions = 0;
    store.completeUpload = async (...args) => {
      completions += 1;
      if (completions < 3)
        await store.uploadPart(upload, completions, bytes.subarray((completions - 1) * PART, completions * PART));
      return complete(...args);
    };
    const transfer = transferOf({ bytes, store });
    expect(await resume({ ...transfer, upload, landed: [] })).toEqual({ kind: 'assembled' });
    expect(Buffer.from((await objectIn(store))!).equals(bytes)).toBe(true);
    expect(completions).toBe(3);
  });

  test('does not resume from a registry that ignores ranges', async () => {
    const bytes = randomBytes(3 * PART, 1);
    const store = storeOf();
    const upload = await store.createUpload(KEY, { partSize: PART });
    const landed = [await store.uploadPart(upload, 1, bytes.subarray(0, PART))];
    const others = [await store.uploadPart(upload, 2, bytes.subarray(PART, 2 * PART))];
    others.push(await store.uploadPart(upload, 3, bytes.subarray(2 * PART)));
    for (const parts of [landed, others]) {
      const transfer = transferOf({ bytes, store, fake: { ranged: false } });
      await expect(resume({ ...transfer, upload, landed: parts })).rejects.toMatchObject({
        code: 'range-ignored',
        remedy: 'restart',
      });
      expectLetGo(transfer);
    }
  });

  test('holds no buffer after a failure of any call', async () => {
    const bytes = randomBytes(4 * PART, 1);
    for (let at = 1; ; at += 1) {
      const store = storeOf();
      const upload = await store.createUpload(KEY, { partSize: PART });
      const faults = new Faults({ at, act: fault('io') });
      const source = new FakeBlob(bytes, { chunk: 4000, turns: () => 1 });
      const transfer = { ...transferOf({ bytes, store: faults.wrap(store, 'store'), bufferBytes: 2 * PART }), source };
      const resuming = resume({ ...transfer, source: faults.wrap(source, 'source'), upload, landed: [] });
      const done = await resuming.catch((error: unknown) => error);
      expectLetGo(transfer);
      if (!faults.fired) {
        expect(done).toEqual({ kind: 'assembled' });
        break;
      }
      expect(done).toMatchObject({ code: 'io' });
    }
  });
});
