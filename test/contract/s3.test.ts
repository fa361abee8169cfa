import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { connect } from 'node:net';
import { afterAll, describe, expect, test } from 'vitest';
import { S3Store } from '../../lib/store/s3/store.ts';
import { startS3Server, withoutAwsVariables } from '../kit/s3-server.ts';
import { objectStoreContract } from './object-store.ts';
import type { StoreUnderTest } from './object-store.ts';
import { skippedFor } from '../kit/skipped.ts';

const MiB = 1024 ** 2;

const server = await startS3Server();

if ('skipped' in server) {
  describe('object store: S3', () => {
    skippedFor(server.skipped);
  });
} else {
  afterAll(() => server.close());

  // Each test has its own bucket, which is deleted with the server.
  const open = async (bucket?: string): Promise<StoreUnderTest> => {
    const of = bucket ?? (await server.bucket());
    const store = await server.store({ bucket: of });
    return { store, close: () => store.close(), reopen: () => open(of) };
  };
  objectStoreContract('S3', () => open());

  describe('object store: S3, beyond the contract', () => {
    test('is checked for writes without leaving an object behind', async () => {
      const store = await server.store();
      await store.prepare();
      expect(await Array.fromAsync(store.list(''))).toEqual([]);
      expect(await store.holds('repositories/')).toBe(false);
      await store.put('repositories/host/path/index.json', Buffer.from('{}'));
      expect(await store.holds('repositories/')).toBe(true);
      expect(await store.holds('blobs/')).toBe(false);
      const absent = await server.store({ bucket: 'mirror-sync-missing' });
      await expect(absent.prepare()).rejects.toMatchObject({ code: 'name-unknown' });
    });

    test('works without checksum headers, and continues uploads that have them', async () => {
      const bucket = await server.bucket();
      const [with_, without] = [await server.store({ bucket }), await server.store({ bucket, checksums: false })];
      await without.put('x', Buffer.from('abc'), { condition: { absent: true } });
      expect(await keys(with_)).toEqual(['x']);
      const upload = await without.createUpload('u', { partSize: 8 * MiB });
      const part = await without.uploadPart(upload, 1, Buffer.from('part'));
      expect((await without.completeUpload(upload, [part])).size).toBe(4);
      expect((await without.get('u', { maxBytes: 10 }))?.bytes).toEqual(new Uint8Array(Buffer.from('part')));
      const begun = await with_.createUpload('v', { partSize: 8 * MiB });
      await with_.uploadPart(begun, 1, Buffer.from('part'));
      expect((await without.completeUpload(begun, await Array.fromAsync(without.parts(begun)))).size).toBe(4);
    });

    // The name of a neighbour begins with the same letters.
    test('is separated by its prefix from other archives in the bucket', async () => {
      const bucket = await server.bucket();
      const [root, a, ab] = await Promise.all(['', 'a', 'ab'].map((prefix) => server.store({ bucket, prefix })));
      await a!.put('x', Buffer.from('a'));
      await ab!.put('x', Buffer.from('ab'));
      const upload = await a!.createUpload('u', { partSize: 8 * MiB });
      expect(await keys(a!)).toEqual(['x']);
      expect(await keys(ab!)).toEqual(['x']);
      expect(await keys(root!)).toEqual(['a/x', 'ab/x']);
      expect(await Array.fromAsync(a!.uploads(''))).toEqual([{ ...upload, initiated: expect.any(Date) as Date }]);
      expect(await Array.fromAsync(ab!.uploads(''))).toEqual([]);
      expect((await Array.fromAsync(root!.uploads('')))[0]?.key).toBe('a/u');
      expect([root!.name, a!.name]).toEqual([`s3://${bucket}`, `s3://${bucket}/a`]);
    });

    test('counts the requests of a blob', async () => {
      const store = await server.store();
      const upload = await store.createUpload('blob', { partSize: 5 * MiB });
      const part = Buffer.alloc(5 * MiB, 7);
      const parts = [await store.uploadPart(upload, 1, part), await store.uploadPart(upload, 2, part.subarray(0, 3))];
      await store.completeUpload(upload, parts, { condition: { absent: true } });
      expect(store.requests()).toEqual({ CreateMultipartUpload: 1, UploadPart: 2, CompleteMultipartUpload: 1 });
      await store.head('blob');
      expect(store.requests()).toMatchObject({ HeadObject: 1 });
    });

    test('continues listings of objects and of parts after the first page', async () => {
      const store = await server.store();
      const names = Array.from({ length: 1003 }, (_, index) => `k/${String(index).padStart(4, '0')}`);
      await inTens(names, (name) => store.put(name, Buffer.from(name)));
      expect(await keys(store)).toEqual(names);
      expect(store.requests()['ListObjectsV2']).toBe(2);

      const upload = await store.createUpload('blob', { partSize: 5 * MiB });
      const numbers = Array.from({ length: 1003 }, (_, index) => index + 1);
      await inTens(numbers, (number) => store.uploadPart(upload, number, Buffer.from(String(number))));
      expect((await Array.fromAsync(store.parts(upload))).map(({ number }) => number)).toEqual(numbers);
      expect(store.requests()['ListParts']).toBe(2);
    });

    test('sends a part again that was corrupted in transit', async () => {
      const bucket = await server.bucket();
      await using proxy = await startProxy(server.endpoint, { bend: 'bent-on-the-way' });
      const store = await server.store({ bucket, endpoint: proxy.endpoint, retry: { tries: 3, baseMs: 1, capMs: 1 } });
      const upload = await store.createUpload('blob', { partSize: 5 * MiB });
      const bytes = Buffer.concat([Buffer.alloc(100_000, 1), Buffer.from('bent-on-the-way')]);
      const part = await store.uploadPart(upload, 1, bytes);
      expect(proxy.bent()).toBe(1);
      expect(store.requests()['UploadPart']).toBe(2);
      await store.completeUpload(upload, [part]);
      expect(Buffer.from((await store.get('blob', { maxBytes: bytes.length }))?.bytes ?? []).equals(bytes)).toBe(true);
    });

    test('continues a body at the byte where its connection broke', async () => {
      const bucket = await server.bucket();
      const bytes = Buffer.alloc(3 * MiB, 'the whole object, ');
      await (await server.store({ bucket })).put('blob', bytes);
      await using proxy = await startProxy(server.endpoint, { cutAnswersAfter: 900_000 });
      const store = await server.store({ bucket, endpoint: proxy.endpoint, retry: { tries: 2, baseMs: 1, capMs: 1 } });
      const hash = createHash('sha256');
      let size = 0;
      for await (const chunk of (await store.read('blob', { start: 5 }))?.body ?? []) {
        hash.update(chunk);
        size += chunk.length;
      }
      expect(size).toBe(bytes.length - 5);
      expect(hash.digest('hex')).toBe(createHash('sha256').update(bytes.subarray(5)).digest('hex'));
      expect(store.requests()['GetObject']).toBe(4);
    });

    // The object is replaced while connections break.
    test('never continues a body with another version', async () => {
      const bucket = await server.bucket();
      const direct = await server.store({ bucket });
      await direct.put('blob', Buffer.alloc(3 * MiB, 1));
      await using proxy = await startProxy(server.endpoint, { cutAnswersAfter: 900_000 });
      const store = await server.store({ bucket, endpoint: proxy.endpoint });
      const reading = async (): Promise<void> => {
        let seen = 0;
        for await (const chunk of (await store.read('blob'))?.body ?? []) {
          if (seen === 0) await direct.put('blob', Buffer.alloc(3 * MiB, 2));
          seen += chunk.length;
        }
      };
      await expect(reading()).rejects.toMatchObject({ code: 'source-changed', remedy: 'restart', side: 'archive' });
    });

    test("uses the SDK's environment, and addresses by path if an endpoint URL is set", async () => {
      const bucket = await server.bucket();
      const restore = withoutAwsVariables();
      Object.assign(process.env, server.env);
      delete process.env['AWS_REGION'];
      const store = new S3Store({ bucket, prefix: 'archive' });
      try {
        await store.put('key', Buffer.from('x'));
        expect(await keys(store)).toEqual(['key']);
      } finally {
        await store.close();
        restore();
      }
    });

    test('names the missing bucket', async () => {
      const store = await server.store({ bucket: 'no-such-bucket-here' });
      await expect(store.put('key', Buffer.from('x'))).rejects.toMatchObject({
        code: 'name-unknown',
        remedy: 'never',
        message: expect.stringContaining('no-such-bucket-here') as string,
      });
      expect(store.requests()).toEqual({ PutObject: 1 });
    });
  });
}

async function keys(store: { list(prefix: string): AsyncIterable<{ readonly key: string }> }): Promise<string[]> {
  return (await Array.fromAsync(store.list(''))).map(({ key }) => key).sort();
}

async function inTens<T>(items: readonly T[], work: (item: T) => Promise<unknown>): Promise<void> {
  const rest = items.values();
  await Promise.all(
    Array.from({ length: 10 }, async () => {
      for (const item of rest) await work(item);
    }),
  );
}

interface Proxy extends AsyncDisposable {
  readonly endpoint: string;
  /** The number of corrupted requests. */
  bent(): number;
}

/**
 * A TCP proxy that corrupts the first request with this text, or cuts the connection of each response after n bytes.
 */
async function startProxy(
  to: string,
  { bend, cutAnswersAfter = Infinity }: { readonly bend?: string; readonly cutAnswersAfter?: number },
): Promise<Proxy> {
  const sockets = new Set<Socket>();
  let bent = 0;
  const proxy = createServer((near) => {
    const { hostname, port } = new URL(to);
    const far = connect(Number(port), hostname);
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket
        .on('error', () => undefined)
        .on('close', () => {
          near.destroy();
          far.destroy();
          sockets.delete(socket);
        });
    }
    near.on('data', (chunk: Buffer) => {
      const at = bend === undefined || bent > 0 ? -1 : chunk.indexOf(bend);
      if (at !== -1) {
        bent += 1;
        chunk[at]! ^= 1;
      }
      far.write(chunk);
    });
    let answered = 0;
    far.on('data', (chunk: Buffer) => {
      if (answered >= cutAnswersAfter) return;
      near.write(chunk.subarray(0, cutAnswersAfter - answered));
      answered += chunk.length;
      if (answered >= cutAnswersAfter) near.destroySoon();
    });
  }).listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  return {
    endpoint: `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`,
    bent: () => bent,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      proxy.close();
      await once(proxy, 'close');
    },
  };
}
