import { describe, expect, test } from 'vitest';
import { Archive } from '../../../lib/archive/archive.ts';
import { ociLayout } from '../../../lib/archive/oci-layout.ts';
import { cleanUploads, MAX_UPLOAD_AGE_MS } from '../../../lib/mirror/clean.ts';
import { digestOf } from '../../../lib/oci/digest.ts';
import { MemoryStore } from '../../kit/memory-store.ts';

describe('cleaning unfinished uploads', () => {
  // Of three uploads, one is of a blob that is proven by now, one was begun just now, and one lies outside of the blobs.
  test('takes what nobody will resume and leaves the rest', async () => {
    const archive = new Archive(new MemoryStore(), ociLayout);
    const { store, layout } = archive;
    const signal = new AbortController().signal;
    const [proven, fresh] = [digestOf(Buffer.from('proven')), digestOf(Buffer.from('fresh'))];
    await archive.putReceipt({
      version: 1,
      digest: proven,
      size: 6,
      diffIds: {},
      source: 'example.com/a',
      verifiedAt: new Date(0).toISOString(),
    });
    for (const key of [layout.blob(proven), layout.blob(fresh), 'elsewhere/x'])
      await store.createUpload(key, { partSize: 1024 });
    const keys = async (): Promise<string[]> => (await Array.fromAsync(store.uploads(''))).map(({ key }) => key).sort();

    expect(await cleanUploads(archive, { now: Date.now(), signal })).toBe(1);
    expect(await keys()).toEqual([layout.blob(fresh), 'elsewhere/x'].sort());
    // A week later nobody comes back for the other one either.
    expect(await cleanUploads(archive, { now: Date.now() + MAX_UPLOAD_AGE_MS + 1000, signal })).toBe(1);
    expect(await keys()).toEqual(['elsewhere/x']);
  });
});
