import { createHash } from 'node:crypto';
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  ListPartsCommand,
  PutObjectCommand,
  S3Client,
} from '@aws-sdk/client-s3';
import { mockClient } from 'aws-sdk-client-mock';
import { beforeEach, describe, expect, test } from 'vitest';
import { S3Store } from '../../../lib/store/s3/store.ts';
import type { Upload } from '../../../lib/store/store.ts';
import { serviceException } from '../../kit/s3-mock.ts';

const client = new S3Client({ region: 'us-east-1', credentials: { accessKeyId: 'a', secretAccessKey: 'b' } });
const s3 = mockClient(client);
let store: S3Store;

beforeEach(() => {
  s3.reset();
  store = new S3Store({ bucket: 'images', prefix: 'archive', client, retry: { tries: 4, baseMs: 1, capMs: 1 } });
});

const BYTES = Buffer.from('manifest');
const checksum = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('base64');
const upload: Upload = { key: 'blobs/x', id: 'upload', initiated: new Date(0) };
/** Their ETags are the MD5s of their bytes. */
const parts = [
  { number: 1, size: 5, etag: '"0cc175b9c0f1b6a831c399e269772661"', checksum: 'AAAAAA==' },
  { number: 2, size: 3, etag: '"92eb5ffee6ae2fec3ad71c777531578f"', checksum: 'AAAAAQ==' },
];
/** The ETag of an object of two other parts. */
const OTHER = '"00000000000000000000000000000000-2"';

describe('conditional puts', () => {
  test('fail with precondition-failed on 412, without a retry', async () => {
    s3.on(PutObjectCommand).rejects(serviceException('PreconditionFailed', 412));
    await expect(store.put('k', BYTES, { condition: { etag: '"old"' } })).rejects.toMatchObject({
      code: 'precondition-failed',
      status: 412,
    });
    expect(store.requests()).toEqual({ PutObject: 1 });
    expect(s3.commandCalls(PutObjectCommand)[0]?.args[0].input).toMatchObject({
      IfMatch: '"old"',
      Bucket: 'images',
      Key: 'archive/k',
    });
  });

  test('are retried on 409 ConditionalRequestConflict', async () => {
    s3.on(PutObjectCommand).rejectsOnce(serviceException('ConditionalRequestConflict', 409)).resolves({ ETag: '"e"' });
    expect(await store.put('k', BYTES, { condition: { absent: true } })).toEqual({ etag: '"e"', size: 8 });
    expect(s3.commandCalls(PutObjectCommand)[1]?.args[0].input.IfNoneMatch).toBe('*');
  });

  test('are a temporary failure on a lasting 409, since the condition may hold', async () => {
    s3.on(PutObjectCommand).rejects(serviceException('ConditionalRequestConflict', 409));
    s3.on(HeadObjectCommand).rejects(serviceException('NotFound', 404));
    await expect(store.put('k', BYTES, { condition: { absent: true } })).rejects.toMatchObject({
      code: 'unavailable',
      remedy: 'retry',
      status: 409,
    });
    expect(store.requests()).toEqual({ PutObject: 4 });
  });

  // The object was deleted meanwhile.
  test('fail with precondition-failed on 404 to If-Match', async () => {
    s3.on(PutObjectCommand).rejects(serviceException('NoSuchKey', 404));
    await expect(store.put('k', BYTES, { condition: { etag: '"old"' } })).rejects.toMatchObject({
      code: 'precondition-failed',
    });
  });

  test('with a lost response are recognised by the checksum', async () => {
    s3.on(PutObjectCommand)
      .rejectsOnce(serviceException('InternalError', 500))
      .rejects(serviceException('PreconditionFailed', 412));
    s3.on(HeadObjectCommand).resolves({ ETag: '"mine"', ContentLength: 8, ChecksumSHA256: checksum(BYTES) });
    expect(await store.put('k', BYTES, { condition: { absent: true } })).toEqual({ etag: '"mine"', size: 8 });
  });

  test('with a lost response do not accept the object of another writer', async () => {
    s3.on(PutObjectCommand)
      .rejectsOnce(serviceException('InternalError', 500))
      .rejects(serviceException('PreconditionFailed', 412));
    s3.on(HeadObjectCommand).resolves({
      ETag: '"theirs"',
      ContentLength: 8,
      ChecksumSHA256: checksum(Buffer.from('another')),
    });
    await expect(store.put('k', BYTES, { condition: { absent: true } })).rejects.toMatchObject({
      code: 'precondition-failed',
    });
  });

  test('and a conditional delete leave a replaced version alone', async () => {
    s3.on(DeleteObjectCommand).rejects(serviceException('PreconditionFailed', 412));
    await store.delete('k', { etag: '"old"' });
    expect(s3.commandCalls(DeleteObjectCommand)[0]?.args[0].input.IfMatch).toBe('"old"');
  });

  test('and a conditional delete are retried on 409, and fail where it lasts', async () => {
    const conflict = serviceException('ConditionalRequestConflict', 409);
    s3.on(DeleteObjectCommand).rejectsOnce(conflict).resolves({});
    await store.delete('k', { etag: '"old"' });
    expect(store.requests()).toEqual({ DeleteObject: 2 });
    s3.on(DeleteObjectCommand).rejects(conflict);
    await expect(store.delete('k', { etag: '"old"' })).rejects.toMatchObject({ code: 'unavailable', status: 409 });
  });
});

describe('completing an upload', () => {
  const whole = `"${createHash('md5')
    .update(parts.map((part) => part.etag.slice(1, -1)).join(''), 'hex')
    .digest('hex')}-2"`;

  test('sends parts, checksums, size and condition', async () => {
    s3.on(CompleteMultipartUploadCommand).resolves({ ETag: OTHER });
    expect(await store.completeUpload(upload, parts, { condition: { absent: true } })).toEqual({
      etag: OTHER,
      size: 8,
    });
    expect(s3.commandCalls(CompleteMultipartUploadCommand)[0]?.args[0].input).toEqual({
      Bucket: 'images',
      Key: 'archive/blobs/x',
      UploadId: 'upload',
      MpuObjectSize: 8,
      IfNoneMatch: '*',
      MultipartUpload: {
        Parts: [
          { PartNumber: 1, ETag: parts[0]?.etag, ChecksumCRC32: 'AAAAAA==' },
          { PartNumber: 2, ETag: parts[1]?.etag, ChecksumCRC32: 'AAAAAQ==' },
        ],
      },
    });
  });

  test.each([serviceException('NoSuchUpload', 404), serviceException('PreconditionFailed', 412)])(
    'succeeds on %s after a lost response',
    async (second) => {
      s3.on(CompleteMultipartUploadCommand).rejectsOnce(serviceException('InternalError', 500)).rejects(second);
      s3.on(HeadObjectCommand).resolves({ ETag: whole, ContentLength: 8 });
      expect(await store.completeUpload(upload, parts, { condition: { absent: true } })).toEqual({
        etag: whole,
        size: 8,
      });
      expect(store.requests()).toEqual({ CompleteMultipartUpload: 2, HeadObject: 1 });
    },
  );

  test.each([
    ['nothing is there', undefined],
    ['an object of another size', { ETag: '', ContentLength: 9 }],
    ['an object of the same size, but of other parts', { ETag: OTHER, ContentLength: 8 }],
  ])('fails with no-such-upload on NoSuchUpload if %s', async (_, there) => {
    s3.on(CompleteMultipartUploadCommand).rejects(serviceException('NoSuchUpload', 404));
    if (there === undefined) s3.on(HeadObjectCommand).rejects(serviceException('NotFound', 404));
    else s3.on(HeadObjectCommand).resolves({ ...there, ETag: there.ETag || whole });
    await expect(store.completeUpload(upload, parts)).rejects.toMatchObject({
      code: 'no-such-upload',
      remedy: 'restart',
    });
  });

  // S3 requires a new upload after this conflict.
  test('does not retry after 409', async () => {
    s3.on(CompleteMultipartUploadCommand).rejects(serviceException('ConditionalRequestConflict', 409));
    s3.on(HeadObjectCommand).rejects(serviceException('NotFound', 404));
    await expect(store.completeUpload(upload, parts)).rejects.toMatchObject({ code: 'precondition-failed' });
    expect(store.requests()).toEqual({ CompleteMultipartUpload: 1, HeadObject: 1 });
  });

  // Another writer has replaced a part.
  test.each(['InvalidPart', 'InvalidPartOrder', 'EntityTooSmall'])('restarts the blob on %s', async (name) => {
    s3.on(CompleteMultipartUploadCommand).rejects(serviceException(name, 400));
    await expect(store.completeUpload(upload, parts)).rejects.toMatchObject({ code: 'invalid', remedy: 'restart' });
  });

  test.each([[[]], [[parts[1]!]], [[parts[0]!, parts[0]!]]])(
    'refuses parts with a gap without a request',
    async (gappy) => {
      await expect(store.completeUpload(upload, gappy)).rejects.toMatchObject({ code: 'invalid' });
      expect(store.requests()).toEqual({});
    },
  );
});

describe('listings continue after their first page', () => {
  test('of objects', async () => {
    const object = (n: number) => ({ Key: `archive/k${n}`, Size: n, LastModified: new Date(n) });
    s3.on(ListObjectsV2Command)
      .resolves({ Contents: [object(3)], IsTruncated: false })
      .on(ListObjectsV2Command, { ContinuationToken: undefined })
      .resolves({ Contents: [object(1), object(2)], IsTruncated: true, NextContinuationToken: 't' });
    expect((await Array.fromAsync(store.list('k'))).map(({ key, size }) => [key, size])).toEqual([
      ['k1', 1],
      ['k2', 2],
      ['k3', 3],
    ]);
    expect(s3.commandCalls(ListObjectsV2Command)[1]?.args[0].input).toMatchObject({
      Prefix: 'archive/k',
      ContinuationToken: 't',
    });
  });

  // Both markers are necessary.
  test('of uploads, even within one key', async () => {
    const one = (id: string) => ({ Key: 'archive/k', UploadId: id, Initiated: new Date(0) });
    s3.on(ListMultipartUploadsCommand)
      .resolvesOnce({ Uploads: [one('a')], IsTruncated: true, NextKeyMarker: 'archive/k', NextUploadIdMarker: 'a' })
      .resolves({ Uploads: [one('b')], IsTruncated: false });
    expect(await Array.fromAsync(store.uploads('k'))).toEqual([
      { key: 'k', id: 'a', initiated: new Date(0) },
      { key: 'k', id: 'b', initiated: new Date(0) },
    ]);
    expect(s3.commandCalls(ListMultipartUploadsCommand)[1]?.args[0].input).toMatchObject({
      KeyMarker: 'archive/k',
      UploadIdMarker: 'a',
    });
  });

  test('of parts', async () => {
    const page = (from: number, count: number) =>
      Array.from({ length: count }, (_, i) => ({
        PartNumber: from + i,
        Size: 1,
        ETag: '"e"',
        ChecksumCRC32: 'AAAAAA==',
      }));
    s3.on(ListPartsCommand)
      .resolvesOnce({ Parts: page(1, 1000), IsTruncated: true, NextPartNumberMarker: '1000' })
      .resolves({ Parts: page(1001, 7), IsTruncated: false });
    const listed = await Array.fromAsync(store.parts(upload));
    expect(listed.map(({ number }) => number)).toEqual(Array.from({ length: 1007 }, (_, i) => i + 1));
    expect(listed[1006]).toEqual({ number: 1007, size: 1, etag: '"e"', checksum: 'AAAAAA==' });
    expect(s3.commandCalls(ListPartsCommand)[1]?.args[0].input.PartNumberMarker).toBe('1000');
    expect(store.requests()).toEqual({ ListParts: 2 });
  });

  // The first page would repeat forever.
  test('and fail if the marker of the next page is missing', async () => {
    s3.on(ListObjectsV2Command).resolves({ Contents: [], IsTruncated: true });
    await expect(Array.fromAsync(store.list(''))).rejects.toMatchObject({ code: 'not-as-declared' });
  });
});

test('parts outside the limits of S3 are refused before an upload begins', async () => {
  s3.on(CreateMultipartUploadCommand).resolves({ UploadId: 'u' });
  await expect(store.createUpload('k', { partSize: 5 * 2 ** 20 - 1 })).rejects.toMatchObject({ code: 'invalid' });
  await expect(store.createUpload('k', { partSize: 5 * 2 ** 30 + 1 })).rejects.toMatchObject({ code: 'invalid' });
  expect(await store.createUpload('k', { partSize: 5 * 2 ** 20 })).toMatchObject({ key: 'k', id: 'u' });
  expect(s3.commandCalls(CreateMultipartUploadCommand)[0]?.args[0].input.ChecksumAlgorithm).toBe('CRC32');
});

test('aborting a missing upload is not an error', async () => {
  s3.on(AbortMultipartUploadCommand).rejects(serviceException('NoSuchUpload', 404));
  await store.abortUpload(upload);
});
