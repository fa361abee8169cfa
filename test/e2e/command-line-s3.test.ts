/** The command line with an archive on a real S3 server, with the same behaviour as for a folder. */
import { readFile, writeFile } from 'node:fs/promises';
import { globSync } from 'node:fs';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { FolderStore } from '../../lib/store/folder/store.ts';
import { ociLayout } from '../../lib/archive/oci-layout.ts';
import { Archive } from '../../lib/archive/archive.ts';
import { cleanUploads, MAX_UPLOAD_AGE_MS } from '../../lib/upkeep/clean.ts';
import { digestOf } from '../../lib/oci/digest.ts';
import { type Ended, jsonLines, mirrorSync, summaryOf } from '../kit/command-line.ts';
import { makeImage, makeLayer } from '../kit/images.ts';
import { startRegistry, type TestRegistry } from '../kit/registry.ts';
import { describeWithS3 } from '../kit/s3-suite.ts';
import { tempFolder } from '../kit/temp.ts';

const MiB = 1024 * 1024;
/** Several parts on S3, and one. */
const LARGE = makeLayer({ seed: 1, size: 17 * MiB, compression: 'none' });
const SMALL = makeLayer({ seed: 2, size: 100_000 });
const IMAGE = makeImage({ layers: [LARGE, SMALL] });
const UNUSED = ociLayout.blob(digestOf(Buffer.from('an unused blob')));
const NEVER = new AbortController().signal;

let registry: TestRegistry;
beforeEach(async () => {
  registry = await startRegistry();
  registry.push('team/app', IMAGE, '1');
});
afterEach(() => registry.close());

await describeWithS3('mirror-sync and S3', (server) => {
  const run = (...args: string[]): Promise<Ended> => mirrorSync(args, server.env);

  // A mistyped prefix must not count as a sound archive.
  test('a prefix without an archive is an error of each command', async () => {
    const bucket = await server.bucket();
    await (await server.store({ bucket, prefix: 'prod' })).put('repositories/x/y/index.json', Buffer.from('{}'));
    for (const archive of [`s3://${bucket}/prdo`, `s3://${bucket}`])
      for (const args of [['verify'], ['ls'], ['status'], ['convert', 'host.example/old:1']]) {
        const ended = await run(...args, archive);
        expect(ended).toMatchObject({ code: 2, stdout: '' });
        expect(ended.stderr).toContain(`${archive} is not a mirror-sync archive (no object below it`);
      }
  });

  test('a missing bucket is one error, before any registry is asked', async () => {
    const archive = 's3://mirror-sync-no-such-bucket/x';
    const ended = await run('sync', `${registry.host}/team/app`, '--all-tags', '--to', archive);
    expect(ended).toMatchObject({ code: 2, stdout: '' });
    expect(ended.stderr).toContain(`write to ${archive}: the bucket mirror-sync-no-such-bucket does not exist`);
    expect(ended.stderr.split('\n')).toHaveLength(2);
    expect(registry.requests).toEqual([]);
  });

  test('a sync without checksum headers writes an archive that can be verified', async () => {
    const archive = `s3://${await server.bucket()}`;
    const env = { ...server.env, MIRROR_SYNC_S3_CHECKSUMS: 'off' };
    const synced = await mirrorSync(['sync', `${registry.host}/team/app:1`, '--to', archive], env);
    expect(synced).toMatchObject({ code: 0, stderr: '' });
    expect(await run('verify', archive)).toMatchObject({ code: 0 });
    const wrong = await mirrorSync(['ls', archive], { ...env, MIRROR_SYNC_S3_CHECKSUMS: 'no' });
    expect(wrong).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('expected on or off, got "no"') as string,
    });
  });

  test.each([
    ['without a prefix', (bucket: string) => [`s3://${bucket}`, `s3://${bucket}/`, `S3://${bucket}`]],
    ['with a prefix', (bucket: string) => [`s3://${bucket}/a/b/`, `s3://${bucket}/a/b`, `S3://${bucket}/a/b`]],
  ])('sync, a second sync, ls and verify treat the address as the same archive: %s', async (_, spellings) => {
    const reference = `${registry.host}/team/app:1`;
    const bucket = await server.bucket();
    for (const [at, archive] of spellings(bucket).entries()) {
      const synced = await run('sync', reference, '--to', archive, '--json');
      expect(synced, synced.stderr).toMatchObject({ code: 0, stderr: '' });
      expect(summaryOf(synced)).toMatchObject({ mirrored: at === 0 ? 1 : 0, unchanged: at === 0 ? 0 : 1, failed: 0 });
      expect(jsonLines(await run('ls', archive, '--json'))).toMatchObject([{ reference, digest: IMAGE.digest }]);
      expect(await run('verify', archive)).toMatchObject({ code: 0 });
    }
    const prefix =
      spellings(bucket)[0]
        ?.replace(`s3://${bucket}`, '')
        .replace(/^\/|\/$/g, '') ?? '';
    const store = await server.store({ bucket, prefix });
    expect((await store.head(ociLayout.blob(LARGE.digest)))?.size).toBe(LARGE.size);
    expect(registry.count({ digest: LARGE.digest })).toBe(Math.ceil(LARGE.size / (8 * MiB)));
  });

  test('verify finds a corrupt blob', async () => {
    const bucket = await server.bucket();
    const archive = `s3://${bucket}/a`;
    expect(await run('sync', `${registry.host}/team/app:1`, '--to', archive)).toMatchObject({ code: 0 });
    const store = await server.store({ bucket, prefix: 'a' });
    const corrupt = Buffer.from(SMALL.blob);
    corrupt[10]! ^= 1;
    await store.put(ociLayout.blob(SMALL.digest), corrupt);
    const verified = await run('verify', archive);
    expect(verified.code).toBe(1);
    expect(verified.stdout + verified.stderr).toContain(SMALL.digest);
  });

  test('a missing bucket is reported', async () => {
    const ended = await run('sync', `${registry.host}/team/app:1`, '--to', 's3://no-such-bucket-here/a');
    expect(ended.code).not.toBe(0);
    expect(ended.stdout + ended.stderr).toContain('the bucket no-such-bucket-here does not exist');
  });

  // One upload of the same blob has no parts, and one belongs to another blob. Another process may still use the
  // latter for a week.
  test('sync aborts the uploads of stored blobs, and others only by their age', async () => {
    const bucket = await server.bucket();
    const store = await server.store({ bucket, prefix: 'a' });
    for (const key of [ociLayout.blob(LARGE.digest), UNUSED]) await store.createUpload(key, { partSize: 8 * MiB });
    const keys = async (): Promise<string[]> => (await Array.fromAsync(store.uploads(''))).map(({ key }) => key);
    expect(await run('sync', `${registry.host}/team/app:1`, '--to', `s3://${bucket}/a`)).toMatchObject({ code: 0 });
    expect(await keys()).toEqual([UNUSED]);
    const archive = new Archive(store, ociLayout);
    expect(await cleanUploads(archive, { now: Date.now() + MAX_UPLOAD_AGE_MS - 60_000, signal: NEVER })).toBe(0);
    expect(await cleanUploads(archive, { now: Date.now() + MAX_UPLOAD_AGE_MS + 60_000, signal: NEVER })).toBe(1);
    expect(await keys()).toEqual([]);
  });
});

test('sync aborts an upload in a folder that is older than a week', async () => {
  await using folder = await tempFolder();
  const archive = folder.join('archive');
  {
    await using store = new FolderStore(archive);
    for (const key of [UNUSED, ociLayout.blob(digestOf(Buffer.from('begun yesterday')))])
      await store.createUpload(key, { partSize: MiB });
  }
  const ages = [MAX_UPLOAD_AGE_MS + 60_000, MAX_UPLOAD_AGE_MS - 60_000];
  for (const [at, path] of globSync(`${archive}/.mirror/uploads/*/meta`).entries()) {
    const meta = JSON.parse(await readFile(path, 'utf8')) as object;
    await writeFile(path, JSON.stringify({ ...meta, initiated: new Date(Date.now() - ages[at]!).toISOString() }));
  }
  expect(await mirrorSync(['sync', `${registry.host}/team/app:1`, '--to', archive])).toMatchObject({ code: 0 });
  expect(globSync(`${archive}/.mirror/uploads/*/meta`)).toHaveLength(1);
});
