import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { Failure, type FailureCode } from '../../lib/core/failure.ts';
import type { ObjectStore, Part, ReadableObject, Upload } from '../../lib/store/store.ts';

/** An empty implementation of the object store, for one test. */
export interface StoreUnderTest {
  readonly store: ObjectStore;
  close(): Promise<void>;
  /** The same store as another process would open it later: the first one is closed. */
  readonly reopen?: () => Promise<StoreUnderTest>;
}

/** The contract of `ObjectStore`, for any implementation. */
export function objectStoreContract(name: string, open: () => Promise<StoreUnderTest>): void {
  const scenario = (title: string, run: (store: ObjectStore, under: StoreUnderTest) => Promise<void>): void => {
    test(title, async () => {
      const under = await open();
      try {
        await run(under.store, under);
      } finally {
        await under.close();
      }
    });
  };

  describe(`object store: ${name}`, () => {
    describe('objects', () => {
      scenario('can be read as they were put', async (store) => {
        for (const [key, size] of [
          ['a/empty', 0],
          ['a/small', 11],
          ['a/larger', 3_000_001],
        ] as const) {
          const bytes = noise(size);
          const put = await store.put(key, bytes, { contentType: 'application/octet-stream' });
          expect(put).toEqual({ etag: expect.any(String) as string, size });
          expect(await store.head(key)).toEqual(put);
          expect(await store.get(key, { maxBytes: size })).toMatchObject(put);
          same((await store.get(key, { maxBytes: size }))?.bytes, bytes);
          const read = await store.read(key);
          expect(read).toMatchObject(put);
          same(await drain(read), bytes);
        }
      });

      scenario('that are missing are not an error', async (store) => {
        await store.put('some/where/deep', noise(3));
        for (const key of ['nothing', 'some/where', 'some/where/dee', 'some/where/else']) {
          expect(await store.get(key, { maxBytes: 10 })).toBeUndefined();
          expect(await store.head(key)).toBeUndefined();
          expect(await store.read(key)).toBeUndefined();
          await store.delete(key);
        }
        expect(await store.head('some/where/deep')).toBeDefined();
      });

      scenario('are read again only if they have another version', async (store) => {
        if (store.getChanged === undefined) return;
        const options = { maxBytes: 100 };
        expect(await store.getChanged('a', 'any', options)).toBeUndefined();
        const { etag } = await store.put('a', noise(3, 1));
        expect(await store.getChanged('a', etag, options)).toBe('unchanged');
        const replaced = await store.put('a', noise(3, 2));
        const found = await store.getChanged('a', etag, options);
        expect(found).toMatchObject(replaced);
        if (found !== 'unchanged') same(found?.bytes, noise(3, 2));
        expect(await store.getChanged('a', replaced.etag, options)).toBe('unchanged');
        await store.delete('a');
        expect(await store.getChanged('a', replaced.etag, options)).toBeUndefined();
      });

      // A body that was opened before is never a mixture.
      scenario('are replaced by a put, with another version', async (store) => {
        const [old, young] = [noise(2_500_000, 1), noise(2_500_000, 2)];
        const first = await store.put('key', old);
        const body = await store.read('key');
        const second = await store.put('key', young);
        expect(second.etag).not.toBe(first.etag);
        expect(await store.head('key')).toEqual(second);
        expect(body?.etag).toBe(first.etag);
        const drained = await drain(body).catch(onlyFailure);
        if (drained !== undefined) same(drained, old);
        same(await drain(await store.read('key')), young);
      });

      scenario('that are larger than allowed are refused by get', async (store) => {
        await store.put('key', noise(101));
        await fails('too-large', store.get('key', { maxBytes: 100 }));
        same((await store.get('key', { maxBytes: 101 }))?.bytes, noise(101));
      });

      scenario('can be read from any offset', async (store) => {
        for (const size of [1000, 5_000_000]) {
          const bytes = noise(size);
          const { etag } = await store.put('key', bytes);
          for (const start of [0, 1, size >> 1, size - 1, size]) {
            const read = await store.read('key', { start });
            expect(read).toMatchObject({ etag, size });
            same(await drain(read), bytes.subarray(start));
          }
          await fails('invalid', (async () => drain(await store.read('key', { start: size + 1 })))());
        }
      });

      scenario('can be streamed from any offset, in chunks that one buffer holds', async (store) => {
        if (store.stream === undefined) return;
        for (const size of [0, 1000, 5_000_000]) {
          const bytes = noise(size);
          await store.put('key', bytes);
          for (const start of [0, size >> 1, size]) {
            const streamed = await store.stream('key', { start, chunkBytes: 300_000 });
            expect(streamed?.size).toBe(size);
            const copies: Buffer[] = [];
            for await (const chunk of streamed?.body ?? []) {
              expect(chunk.length).toBeLessThanOrEqual(300_000);
              copies.push(Buffer.from(chunk));
            }
            same(Buffer.concat(copies), bytes.subarray(start));
          }
          await fails('invalid', store.stream('key', { start: size + 1, chunkBytes: 1 }));
        }
        expect(await store.stream('nothing', { start: 0, chunkBytes: 1 })).toBeUndefined();
      });

      scenario("are copies of the caller's buffer", async (store) => {
        const bytes = noise(1000);
        await store.put('key', bytes);
        bytes.fill(0);
        same((await store.get('key', { maxBytes: 1000 }))?.bytes, noise(1000));
      });

      scenario('are refused if they do not have the hash of the caller, and the old object stays', async (store) => {
        const put = await store.put('key', noise(10), { sha256: sha256(noise(10)) });
        await fails('digest-mismatch', store.put('key', noise(10, 2), { sha256: sha256(noise(10)) }));
        await fails('digest-mismatch', store.put('other', noise(10, 2), { sha256: sha256(noise(10)) }));
        expect(await store.head('key')).toEqual(put);
        expect(await store.head('other')).toBeUndefined();
      });

      scenario('can be deleted any number of times', async (store) => {
        await store.put('key', noise(10));
        await store.put('key2', noise(10));
        await store.delete('key');
        await store.delete('key');
        expect(await store.head('key')).toBeUndefined();
        expect(await keys(store, '')).toEqual(['key2']);
      });

      scenario('that replaced the deleted version are kept', async (store) => {
        const first = await store.put('key', noise(10, 1));
        const second = await store.put('key', noise(10, 2));
        await store.delete('key', { etag: first.etag });
        expect(await store.head('key')).toEqual(second);
        await store.delete('key', { etag: second.etag });
        expect(await store.head('key')).toBeUndefined();
        await store.delete('key', { etag: second.etag });
      });

      // These characters have a meaning in paths, URLs and globs.
      scenario('may have special characters in their keys', async (store) => {
        const odd = [
          'runs/1/docker.io%2Fa%3A1.json',
          'r/a+b',
          'r/a b',
          'r/[__1]_5000/x',
          "r/~a@b'c$&=,;!",
          'r/ü/…',
          'r/.x',
        ];
        for (const key of odd) await store.put(key, Buffer.from(key));
        expect((await keys(store, '')).sort()).toEqual(odd.toSorted());
        for (const key of odd) same((await store.get(key, { maxBytes: 100 }))?.bytes, Buffer.from(key));
      });

      // A prefix is a string and not a folder.
      scenario('are listed by a prefix of the key', async (store) => {
        for (const [index, key] of ['a/1', 'a/b/2', 'ab/3', 'ac', 'b'].entries()) await store.put(key, noise(index));
        expect(await keys(store, '')).toEqual(['a/1', 'a/b/2', 'ab/3', 'ac', 'b']);
        expect(await keys(store, 'a')).toEqual(['a/1', 'a/b/2', 'ab/3', 'ac']);
        expect(await keys(store, 'a/')).toEqual(['a/1', 'a/b/2']);
        expect(await keys(store, 'a/b/2')).toEqual(['a/b/2']);
        expect(await keys(store, 'a/b/2/')).toEqual([]);
        expect(await keys(store, 'c/d')).toEqual([]);
        const listed = await collect(store.list('ab'));
        expect(listed).toEqual([{ key: 'ab/3', size: 2, modified: expect.any(Date) as Date }]);
        expect(Math.abs((listed[0]?.modified.getTime() ?? 0) - Date.now())).toBeLessThan(300_000);
      });
    });

    describe('conditions', () => {
      scenario('on absence let the first put win', async (store) => {
        const first = await store.put('key', noise(10, 1), { condition: { absent: true } });
        await fails('precondition-failed', store.put('key', noise(10, 2), { condition: { absent: true } }));
        expect(await store.head('key')).toEqual(first);
        await store.delete('key');
        await store.put('key', noise(10, 3), { condition: { absent: true } });
      });

      scenario('on an etag allow a put only over that version', async (store) => {
        await fails('precondition-failed', store.put('key', noise(10), { condition: { etag: '"none"' } }));
        const first = await store.put('key', noise(10, 1));
        const second = await store.put('key', noise(10, 2), { condition: { etag: first.etag } });
        await fails('precondition-failed', store.put('key', noise(10, 3), { condition: { etag: first.etag } }));
        expect(await store.head('key')).toEqual(second);
        await store.delete('key');
        await fails('precondition-failed', store.put('key', noise(10, 3), { condition: { etag: second.etag } }));
        expect(await store.head('key')).toBeUndefined();
      });

      scenario('on absence let exactly one of eight concurrent puts win', async (store) => {
        const tries = await Promise.allSettled(
          range(8).map((n) => store.put('key', noise(1000, n), { condition: { absent: true } })),
        );
        const winner = tries.findIndex(({ status }) => status === 'fulfilled');
        expect(tries.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
        for (const one of tries) if (one.status === 'rejected') onlyFailure(one.reason, 'precondition-failed');
        same((await store.get('key', { maxBytes: 1000 }))?.bytes, noise(1000, winner));
      });

      // Six writers increment a number three times each, and start over after a conflict.
      scenario('on an etag lose no update', async (store) => {
        await store.put('counter', Buffer.from('0'));
        const countUp = async (): Promise<void> => {
          for (;;) {
            const there = await store.get('counter', { maxBytes: 100 });
            const next = Buffer.from(String(Number(Buffer.from(there?.bytes ?? []).toString()) + 1));
            try {
              await store.put('counter', next, { condition: { etag: there?.etag ?? '' } });
              return;
            } catch (error) {
              onlyFailure(error, 'precondition-failed');
            }
          }
        };
        await Promise.all(
          range(6).map(async () => {
            for (let n = 0; n < 3; n += 1) await countUp();
          }),
        );
        same((await store.get('counter', { maxBytes: 100 }))?.bytes, Buffer.from('18'));
      });
    });

    describe('uploads', () => {
      scenario('become an object when they are completed, with parts in any order', async (store) => {
        const partSize = partSizeOf(store);
        const bytes = noise(partSize * 2 + 12_345);
        const upload = await store.createUpload('blobs/x', { partSize });
        expect(upload).toMatchObject({ key: 'blobs/x', initiated: expect.any(Date) as Date });
        const parts = await Promise.all([3, 1, 2].map((number) => uploadPart(store, upload, number, bytes, partSize)));
        parts.sort((a, b) => a.number - b.number);
        expect(parts.map(({ size }) => size)).toEqual([partSize, partSize, 12_345]);
        expect(await ids(store, 'blobs/')).toEqual([upload.id]);
        expect(await collect(store.parts(upload))).toMatchObject(
          parts.map(({ number, size, etag }) => ({ number, size, etag })),
        );
        expect(await store.head('blobs/x')).toBeUndefined();
        expect(await keys(store, '')).toEqual([]);

        const object = await store.completeUpload(upload, parts);
        expect(object.size).toBe(bytes.length);
        expect(await store.head('blobs/x')).toEqual(object);
        const read = await store.read('blobs/x');
        expect(read).toMatchObject(object);
        same(await drain(read), bytes);
        expect(await ids(store, '')).toEqual([]);
        expect(await keys(store, '')).toEqual(['blobs/x']);
        await fails('no-such-upload', collect(store.parts(upload)));
      });

      scenario('can be continued by another process, including gaps', async (store, under) => {
        const partSize = partSizeOf(store);
        const bytes = noise(partSize * 2 + 1);
        const begun = await store.createUpload('blobs/x', { partSize });
        await uploadPart(store, begun, 1, bytes, partSize);
        await uploadPart(store, begun, 3, bytes, partSize);
        const later = (await under.reopen?.()) ?? under;
        try {
          const [upload] = await collect(later.store.uploads('blobs/x'));
          if (upload === undefined) throw new Error('the upload is not listed');
          expect(upload).toMatchObject({ key: 'blobs/x', id: begun.id });
          expect(Math.abs(upload.initiated.getTime() - Date.now())).toBeLessThan(300_000);
          const landed = await collect(later.store.parts(upload));
          expect(landed.map(({ number, size }) => [number, size])).toEqual([
            [1, partSize],
            [3, 1],
          ]);
          const missing = await uploadPart(later.store, upload, 2, bytes, partSize);
          const parts = [...landed, missing].sort((a, b) => a.number - b.number);
          await later.store.completeUpload(upload, parts, { condition: { absent: true } });
          same(await drain(await later.store.read('blobs/x')), bytes);
        } finally {
          if (later !== under) await later.close();
        }
      });

      // The caller may reuse its buffer.
      scenario('keep the last upload of a part', async (store) => {
        const partSize = partSizeOf(store);
        const upload = await store.createUpload('key', { partSize });
        const first = await store.uploadPart(upload, 1, noise(1000, 1));
        const bytes = noise(999, 2);
        const second = await store.uploadPart(upload, 1, bytes);
        bytes.fill(0);
        expect(second.etag).not.toBe(first.etag);
        expect(await collect(store.parts(upload))).toMatchObject([{ number: 1, size: 999, etag: second.etag }]);
        await store.completeUpload(upload, [second]);
        same(await drain(await store.read('key')), noise(999, 2));
      });

      // The upload stays valid for the right parts.
      scenario('are not completed with missing, replaced or short parts', async (store) => {
        const partSize = partSizeOf(store);
        const bytes = noise(partSize + 5);
        const upload = await store.createUpload('key', { partSize });
        const short = await store.uploadPart(upload, 1, bytes.subarray(0, partSize - 1));
        const two = await uploadPart(store, upload, 2, bytes, partSize);
        await fails('invalid', store.completeUpload(upload, []));
        await fails('invalid', store.completeUpload(upload, [two]));
        await fails('invalid', store.completeUpload(upload, [short, two]));
        const one = await uploadPart(store, upload, 1, bytes, partSize);
        await fails('invalid', store.completeUpload(upload, [short, two]));
        await fails('invalid', store.completeUpload(upload, [one, { ...two, etag: one.etag }]));
        await fails('invalid', store.completeUpload(upload, [one, two, { ...two, number: 3 }]));
        expect(await store.head('key')).toBeUndefined();
        expect(await collect(store.parts(upload))).toHaveLength(2);
        await store.completeUpload(upload, [one, two]);
        same(await drain(await store.read('key')), bytes);
      });

      scenario('can be completed on a condition', async (store) => {
        const partSize = partSizeOf(store);
        const there = await store.put('key', noise(10));
        const upload = await store.createUpload('key', { partSize });
        const part = await store.uploadPart(upload, 1, noise(100));
        await fails('precondition-failed', store.completeUpload(upload, [part], { condition: { absent: true } }));
        expect(await store.head('key')).toEqual(there);
        await store.abortUpload(upload);
        const again = await store.createUpload('key', { partSize });
        const object = await store.completeUpload(again, [await store.uploadPart(again, 1, noise(100))]);
        expect(await store.head('key')).toEqual(object);
      });

      scenario('that are aborted no longer exist', async (store) => {
        const upload = await store.createUpload('key', { partSize: partSizeOf(store) });
        const part = await store.uploadPart(upload, 1, noise(10));
        await store.abortUpload(upload);
        await store.abortUpload(upload);
        expect(await ids(store, '')).toEqual([]);
        await fails('no-such-upload', collect(store.parts(upload)));
        await fails('no-such-upload', store.uploadPart(upload, 1, noise(10)));
        await fails('no-such-upload', store.completeUpload(upload, [part]));
        expect(await store.head('key')).toBeUndefined();
      });

      scenario('of one key end with one valid object', async (store) => {
        const partSize = partSizeOf(store);
        const uploads = await Promise.all(range(2).map(() => store.createUpload('a/key', { partSize })));
        const other = await store.createUpload('b/key', { partSize });
        expect((await ids(store, 'a/')).sort()).toEqual(uploads.map(({ id }) => id).sort());
        expect(await ids(store, 'b/key')).toEqual([other.id]);
        expect(await ids(store, 'b/key/')).toEqual([]);
        const objects = await Promise.all(
          uploads.map(async (upload) => store.completeUpload(upload, [await store.uploadPart(upload, 1, noise(500))])),
        );
        expect(objects.map(({ size }) => size)).toEqual([500, 500]);
        same(await drain(await store.read('a/key')), noise(500));
        expect(await ids(store, '')).toEqual([other.id]);
      });
    });

    describe('cancellation', () => {
      scenario('before a call makes it do nothing', async (store) => {
        const signal = AbortSignal.abort();
        const partSize = partSizeOf(store);
        const there = await store.put('there', noise(10));
        const upload = await store.createUpload('key', { partSize });
        const part = await store.uploadPart(upload, 1, noise(10));
        await fails('aborted', store.get('there', { maxBytes: 10, signal }));
        await fails('aborted', store.head('there', { signal }));
        await fails('aborted', store.read('there', { signal }));
        await fails('aborted', store.put('there', noise(11), { signal }));
        await fails('aborted', store.delete('there', { signal }));
        await fails('aborted', collect(store.list('', { signal })));
        await fails('aborted', collect(store.uploads('', { signal })));
        await fails('aborted', store.createUpload('other', { partSize, signal }));
        await fails('aborted', store.uploadPart(upload, 1, noise(11), { signal }));
        await fails('aborted', collect(store.parts(upload, { signal })));
        await fails('aborted', store.completeUpload(upload, [part], { signal }));
        await fails('aborted', store.abortUpload(upload, { signal }));
        expect(await store.head('there')).toEqual(there);
        expect(await ids(store, '')).toEqual([upload.id]);
        expect((await collect(store.parts(upload))).map(({ etag }) => etag)).toEqual([part.etag]);
      });

      scenario('ends a body in the middle', async (store) => {
        await store.put('key', noise(12_000_000));
        const controller = new AbortController();
        const read = await store.read('key', { signal: controller.signal });
        let seen = 0;
        const reading = (async () => {
          for await (const chunk of read?.body ?? []) {
            seen += chunk.length;
            controller.abort();
          }
        })();
        await fails('aborted', reading);
        expect(seen).toBeLessThan(12_000_000);
      });
    });
  });
}

/** Bytes that depend on their offset and the seed, so that all parts differ. */
function noise(length: number, seed = 0): Buffer {
  const bytes = Buffer.allocUnsafe(length);
  let state = (seed + 1) * 2_654_435_761;
  for (let at = 0; at < length; at += 1) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) | 0;
    bytes[at] = state >>> 24;
  }
  return bytes;
}

function range(length: number): number[] {
  return Array.from({ length }, (_, index) => index);
}

function partSizeOf({ limits }: ObjectStore): number {
  return Math.max(limits.minPartBytes, 100_000);
}

function uploadPart(
  store: ObjectStore,
  upload: Upload,
  number: number,
  bytes: Uint8Array,
  partSize: number,
): Promise<Part> {
  return store.uploadPart(upload, number, bytes.subarray((number - 1) * partSize, number * partSize));
}

/** Compares buffers of megabytes as a whole, and not by element. */
function same(actual: Uint8Array | undefined, expected: Uint8Array): void {
  expect(actual?.length).toBe(expected.length);
  expect(actual !== undefined && Buffer.compare(actual, expected) === 0, 'the bytes are the same').toBe(true);
}

async function drain(read: ReadableObject | undefined): Promise<Buffer> {
  return Buffer.concat(await collect(read?.body ?? []));
}

async function collect<T>(items: AsyncIterable<T> | Iterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

async function keys(store: ObjectStore, prefix: string): Promise<string[]> {
  return (await collect(store.list(prefix))).map(({ key }) => key).sort();
}

async function ids(store: ObjectStore, prefix: string): Promise<string[]> {
  return (await collect(store.uploads(prefix))).map(({ id }) => id);
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

async function fails(code: FailureCode, work: Promise<unknown>): Promise<void> {
  const error: unknown = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error, `a Failure ${code}`).toBeInstanceOf(Failure);
  onlyFailure(error, code);
}

function onlyFailure(error: unknown, code?: FailureCode): void {
  if (!(error instanceof Failure)) throw error;
  expect(error.side).toBe('archive');
  if (code !== undefined) expect(error.code, error.message).toBe(code);
}
