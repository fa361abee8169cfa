import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { Archive } from '../../../lib/archive/archive.ts';
import { ociLayout } from '../../../lib/archive/oci-layout.ts';
import { cleanUploads, MAX_UPLOAD_AGE_MS } from '../../../lib/upkeep/clean.ts';
import { digestOf } from '../../../lib/oci/digest.ts';
import { MemoryStore } from '../../kit/memory-store.ts';

describe('cleaning unfinished uploads', () => {
  // One of three uploads belongs to a proven blob, one was just created, and one is not of a blob.
  test('aborts uploads that no sync will resume, and keeps the others', async () => {
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
    // After a week, the other upload is abandoned as well.
    expect(await cleanUploads(archive, { now: Date.now() + MAX_UPLOAD_AGE_MS + 1000, signal })).toBe(1);
    expect(await keys()).toEqual(['elsewhere/x']);
  });

  test('waits as many days as the documented lifecycle rule', async () => {
    const text = await readFile(join(import.meta.dirname, '../../../docs/s3.md'), 'utf8');
    const [, days] = /"DaysAfterInitiation": (\d+)/.exec(text) ?? [];
    expect(MAX_UPLOAD_AGE_MS).toBe(Number(days) * 24 * 60 * 60 * 1000);
  });

  test('aborts an upload only when it is older than the limit', async () => {
    const archive = new Archive(new MemoryStore(), ociLayout);
    const signal = new AbortController().signal;
    await archive.store.createUpload(archive.layout.blob(digestOf(Buffer.from('blob'))), { partSize: 1024 });
    const [upload] = await Array.fromAsync(archive.store.uploads(''));
    const limit = (upload?.initiated.getTime() ?? NaN) + MAX_UPLOAD_AGE_MS;
    expect(await cleanUploads(archive, { now: limit, signal })).toBe(0);
    expect(await cleanUploads(archive, { now: limit + 1, signal })).toBe(1);
  });
});
