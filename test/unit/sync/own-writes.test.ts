/** The finalizer of one process: what the process has written itself, and what others have removed meanwhile. */
import { describe, expect, test } from 'vitest';
import { Archive } from '../../../lib/archive/archive.ts';
import { ociLayout } from '../../../lib/archive/oci-layout.ts';
import { cachedReader } from '../../../lib/sync/cached-reader.ts';
import { receiptReader } from '../../../lib/sync/receipt-reader.ts';
import { finalize } from '../../../lib/sync/finalizer/finalize.ts';
import { finalizeMessage } from '../../../lib/queue/outgoing.ts';
import type { PutOptions, StoredObject } from '../../../lib/store/store.ts';
import { countCalls } from '../../kit/faults.ts';
import { type Layer, makeImage, makeLayer } from '../../kit/images.ts';
import { MemoryStore } from '../../kit/memory-store.ts';
import { NEVER, orderFor, receiptOf, Rig } from './rig.ts';

const LAYER = makeLayer({ seed: 1, size: 100 });
const BLOB = { digest: LAYER.digest, mediaType: LAYER.mediaType, diffIds: ['sha256' as const] };
const LIMIT = 1_000_000;
const REPOSITORY = 'registry.example/library/app';

function opened(store = new MemoryStore()) {
  const { port, faults } = countCalls(store);
  const archive = new Archive(port, ociLayout);
  const reader = cachedReader(receiptReader(archive, NEVER));
  /** Another process, over the same store. */
  const other = new Archive(store, ociLayout);
  const write = async (): Promise<void> => {
    await archive.putContent(LAYER.digest, LAYER.blob);
    await archive.putReceipt(receiptOf(LAYER));
  };
  const remove = async (): Promise<void> => {
    await other.revokeReceipt(LAYER.digest, (await other.findReceipt(LAYER.digest))!.etag, 5000);
    await store.delete(ociLayout.blob(LAYER.digest));
  };
  const reads = (): number => faults.calls.filter((call) => call.startsWith('port.get')).length;
  return { archive, other, reader, reads, remove, store, write };
}

describe('content and a receipt that this process wrote after it knew the version of the tag index', () => {
  test('are not read back', async () => {
    const { reader, reads, write } = opened();
    reader.begin('1');
    await write();
    expect(await reader.has(LAYER.digest)).toBe(true);
    expect(await reader.proof(BLOB)).toMatchObject({ size: LAYER.blob.length, compression: 'gzip' });
    expect(Buffer.from((await reader.content(LAYER.digest, LIMIT))!)).toEqual(Buffer.from(LAYER.blob));
    expect(reads()).toBe(0);
  });

  test('are not read back either after the finalizer has written the next version', async () => {
    const { reader, reads, write } = opened();
    reader.begin(undefined);
    reader.written('1');
    await write();
    reader.begin('1');
    expect(await reader.has(LAYER.digest)).toBe(true);
    expect(reads()).toBe(0);
  });

  test('are read in a version that another process has written', async () => {
    const { reader, remove, write } = opened();
    reader.begin('1');
    await write();
    await remove();
    reader.begin('2');
    expect(await reader.has(LAYER.digest)).toBe(false);
    expect(await reader.proof(BLOB)).toBeUndefined();
    expect(await reader.content(LAYER.digest, LIMIT)).toBeUndefined();
    expect(reader.revoked?.(LAYER.digest)).toBe(5000);
  });

  test('do not change if the caller overwrites its bytes', async () => {
    const { archive, reader } = opened();
    const bytes = Uint8Array.from(LAYER.blob);
    reader.begin('1');
    await archive.putContent(LAYER.digest, bytes);
    bytes.fill(0);
    expect(Buffer.from((await reader.content(LAYER.digest, LIMIT))!)).toEqual(Buffer.from(LAYER.blob));
  });

  test('are subject to the limit of the reader', async () => {
    const { archive, reader } = opened();
    reader.begin('1');
    await archive.putContent(LAYER.digest, LAYER.blob);
    await expect(reader.content(LAYER.digest, LAYER.blob.length - 1)).rejects.toMatchObject({ code: 'too-large' });
  });

  test('are read if the receipt proves less than the image claims', async () => {
    const { archive, other, reader } = opened();
    const { compression: _, ...opaque } = receiptOf(LAYER, { diffIds: {} });
    reader.begin('1');
    await archive.putReceipt(opaque);
    await other.putReceipt(receiptOf(LAYER));
    expect(await reader.proof(BLOB)).toMatchObject({ compression: 'gzip' });
  });

  test('are read if this process has revoked the receipt itself', async () => {
    const { archive, reader, write } = opened();
    reader.begin('1');
    await write();
    await archive.revokeReceipt(LAYER.digest, (await archive.findReceipt(LAYER.digest))!.etag, 5000);
    expect(await reader.has(LAYER.digest)).toBe(false);
  });

  test('are read if the store had another receipt that proves as much', async () => {
    const { archive, other, reader, reads } = opened();
    await other.putReceipt(receiptOf(LAYER, { source: 'registry.example/other' }));
    reader.begin('1');
    await archive.putReceipt(receiptOf(LAYER));
    const before = reads();
    expect(await reader.proof(BLOB)).toBeDefined();
    expect(reads()).toBe(before + 1);
  });
});

describe('what this process wrote before it knew the version of the tag index', () => {
  // A repository without a tag index has no version that a repair could change: its marker is written first.
  test.each(['1', undefined])('is read in version %s', async (version) => {
    const { archive, reader, remove, write } = opened();
    archive.ownWrites();
    await write();
    await remove();
    reader.begin(version);
    expect(await reader.has(LAYER.digest)).toBe(false);
    expect(await reader.content(LAYER.digest, LIMIT)).toBeUndefined();
  });

  test('is read without a version', async () => {
    const { archive, reader, remove, write } = opened();
    archive.ownWrites();
    await write();
    await remove();
    expect(await reader.has(LAYER.digest)).toBe(false);
  });

  // Another process removed the object after it was stored, and changed the version before the response arrived.
  test('is read if only the response came later', async () => {
    const response = Promise.withResolvers<undefined>();
    class Slow extends MemoryStore {
      override async put(key: string, bytes: Uint8Array, options?: PutOptions): Promise<StoredObject> {
        const stored = await super.put(key, bytes, options);
        await response.promise;
        return stored;
      }
    }
    const { archive, reader, store } = opened(new Slow());
    reader.begin('1');
    const writing = Promise.all([archive.putContent(LAYER.digest, LAYER.blob), archive.putReceipt(receiptOf(LAYER))]);
    await expect.poll(() => store.head(ociLayout.receipt(LAYER.digest))).toBeDefined();
    await store.delete(ociLayout.receipt(LAYER.digest));
    await store.delete(ociLayout.blob(LAYER.digest));
    reader.begin('2');
    response.resolve(undefined);
    await writing;
    expect(await reader.has(LAYER.digest)).toBe(false);
    expect(await reader.content(LAYER.digest, LIMIT)).toBeUndefined();
  });
});

// The finalizer trusts the receipt at first, because this process wrote it after it knew the version of the index.
test('a repair between the check and the write of a reference fails the image', async () => {
  let repair = (): Promise<void> => Promise.resolve();
  class Repaired extends MemoryStore {
    override async put(key: string, bytes: Uint8Array, options?: PutOptions): Promise<StoredObject> {
      if (key === ociLayout.tagIndex(REPOSITORY)) await repair();
      return super.put(key, bytes, options);
    }
  }
  await using rig = new Rig({ store: new Repaired() });
  const { archive } = rig;
  const reader = cachedReader(receiptReader(archive, NEVER));
  const mirrored = async (layer: Layer, tag: string): Promise<void> => {
    const { blobs, digest, manifest, mediaType } = makeImage({ layers: [layer] });
    await archive.putContent(digest, manifest);
    for (const [of, bytes] of blobs) await archive.putContent(of, bytes);
    await archive.putReceipt(receiptOf(layer));
    const image = { digest, mediaType, size: manifest.length, tag, observed: 1000 };
    const { message } = finalizeMessage(orderFor({ host: 'registry.example' }), image, 'resolver');
    await finalize(rig.context, [message], { signal: NEVER, reader });
  };
  await mirrored(makeLayer({ seed: 2, size: 100 }), 'v1');
  repair = async () => {
    repair = () => Promise.resolve();
    const other = new Archive(rig.store, ociLayout);
    await other.revokeReceipt(LAYER.digest, (await other.findReceipt(LAYER.digest))!.etag, 5000);
    await other.dropReferences(REPOSITORY, new Set(), 5000);
    await rig.store.delete(ociLayout.blob(LAYER.digest));
  };
  await mirrored(LAYER, 'v2');
  expect(rig.records).toMatchObject([
    { tag: 'v1', status: 'mirrored' },
    { tag: 'v2', status: 'failed', code: 'corrupt' },
  ]);
  expect((await archive.tagIndex(REPOSITORY))?.index.entries().map(({ tag }) => tag)).toEqual(['v1']);
});
