import {
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
  UploadPartCommand,
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
const upload: Upload = { key: 'blobs/x', id: 'upload', initiated: new Date(0) };
const parts = [{ number: 1, size: 5, etag: '"0cc175b9c0f1b6a831c399e269772661"', checksum: 'AAAAAA==' }];

describe('a temporary error is retried, and each request is counted', () => {
  test.each([
    ['SlowDown', 503],
    ['InternalError', 500],
    ['ServiceUnavailable', 503],
    ['RequestTimeout', 400],
    ['OperationAborted', 409],
    ['TooManyRequests', 429],
    ['BadGateway', 502],
  ])('after %s (%i)', async (name, status) => {
    s3.on(PutObjectCommand)
      .rejectsOnce(serviceException(name, status))
      .rejectsOnce(serviceException(name, status))
      .resolves({ ETag: '"e"' });
    expect(await store.put('k', BYTES)).toEqual({ etag: '"e"', size: 8 });
    expect(store.requests()).toEqual({ PutObject: 3 });
  });

  // The connection to S3 breaks below HTTP.
  test.each(['ECONNRESET', 'ECONNREFUSED', 'EPIPE', 'ENOTFOUND', 'ETIMEDOUT'])(
    'after %s, without a status',
    async (code) => {
      s3.on(HeadObjectCommand)
        .rejectsOnce(Object.assign(new Error('socket'), { code }))
        .resolves({ ETag: '"e"', ContentLength: 1 });
      expect(await store.head('k')).toEqual({ etag: '"e"', size: 1 });
      expect(store.requests()).toEqual({ HeadObject: 2 });
    },
  );

  test.each([
    ['SlowDown', 503, 'rate-limited'],
    ['KMS.ThrottlingException', 400, 'rate-limited'],
    ['RequestThrottled', 400, 'rate-limited'],
    ['ThrottledException', 400, 'rate-limited'],
    ['TooManyRequestsException', 400, 'rate-limited'],
    ['RequestLimitExceeded', 400, 'rate-limited'],
    ['BandwidthLimitExceeded', 400, 'rate-limited'],
    ['InternalError', 500, 'unavailable'],
    ['ServiceUnavailable', 503, 'unavailable'],
    ['RequestTimeout', 400, 'timeout'],
    ['ExpiredToken', 400, 'token-expired'],
    ['IncompleteBody', 400, 'truncated'],
  ])('a lasting %s fails with %s after the last try', async (name, status, code) => {
    s3.on(UploadPartCommand).rejects(serviceException(name, status));
    await expect(store.uploadPart(upload, 1, BYTES)).rejects.toMatchObject({
      code,
      status,
      side: 'archive',
      remedy: 'retry',
    });
    expect(store.requests()).toEqual({ UploadPart: 4 });
  });

  test.each(['BadDigest', 'XAmzContentSHA256Mismatch', 'XAmzContentChecksumMismatch'])(
    'after %s, because the bytes were corrupted in transit',
    async (name) => {
      s3.on(UploadPartCommand).rejectsOnce(serviceException(name, 400)).resolves({ ETag: '"e"' });
      expect(await store.uploadPart(upload, 1, BYTES)).toMatchObject({ number: 1, size: 8, etag: '"e"' });
      s3.on(PutObjectCommand).rejectsOnce(serviceException(name, 400)).resolves({ ETag: '"e"' });
      expect(await store.put('k', BYTES)).toEqual({ etag: '"e"', size: 8 });
      s3.on(PutObjectCommand).rejects(serviceException(name, 400));
      await expect(store.put('k', BYTES)).rejects.toMatchObject({ code: 'digest-mismatch', remedy: 'retry' });
      expect(store.requests()).toEqual({ UploadPart: 2, PutObject: 6 });
    },
  );

  test('for the whole Retry-After, in seconds or as a date', async () => {
    const once = new S3Store({ bucket: 'images', prefix: '', client, retry: { tries: 1, baseMs: 1, capMs: 1 } });
    s3.on(HeadObjectCommand).rejects(serviceException('SlowDown', 503, { 'retry-after': '120' }));
    await expect(once.head('k')).rejects.toMatchObject({ retryAfterMs: 120_000 });
    s3.on(HeadObjectCommand).rejects(
      serviceException('SlowDown', 503, { 'retry-after': 'Wed, 21 Oct 2015 07:28:00 GMT' }),
    );
    await expect(once.head('k')).rejects.toMatchObject({ retryAfterMs: 0 });
  });

  test('until an abort ends the wait', async () => {
    const stop = new AbortController();
    s3.on(PutObjectCommand).callsFake(() => {
      setImmediate(() => stop.abort());
      throw serviceException('SlowDown', 503, { 'retry-after': '300' });
    });
    await expect(store.put('k', BYTES, { signal: stop.signal })).rejects.toMatchObject({
      code: 'aborted',
      side: 'archive',
    });
    expect(store.requests()).toEqual({ PutObject: 1 });
  });

  test('a request with an aborted signal is not sent', async () => {
    await expect(store.head('k', { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'aborted' });
    expect(store.requests()).toEqual({});
  });
});

test.each(['constructor', '__proto__', 'toString'])(
  'an S3 error code that is the name of an object property (%s) is judged by its status',
  async (name) => {
    s3.on(PutObjectCommand).rejects(serviceException(name, 400));
    await expect(store.put('k', BYTES)).rejects.toMatchObject({ code: 'invalid', remedy: 'never', status: 400 });
  },
);

test('an object in a storage class for archives has to be restored, and no permission helps', async () => {
  s3.on(GetObjectCommand).rejects(serviceException('InvalidObjectState', 403));
  await expect(store.get('k', { maxBytes: 1 })).rejects.toMatchObject({
    code: 'denied',
    detail: expect.stringMatching(
      /\(InvalidObjectState, 403\); restore the object with aws s3api restore-object$/,
    ) as string,
  });
});

test('a missing permission of KMS is named instead of the one of S3', async () => {
  const message =
    'User: arn:aws:sts::1:assumed-role/x is not authorized to perform: kms:Decrypt on resource: arn:aws:kms:eu-central-1:1:key/2';
  s3.onAnyCommand().rejects(Object.assign(serviceException('AccessDenied', 403), { message }));
  await expect(store.get('k', { maxBytes: 1 })).rejects.toMatchObject({
    code: 'denied',
    detail: `${message} (AccessDenied, 403); allow kms:Decrypt on the key of the bucket`,
  });
});

test('an S3 error contains no control or format character of the response', async () => {
  s3.on(PutObjectCommand).rejects(
    Object.assign(serviceException('Odd\u202e', 400), { message: 'a\u001b[2J\u009b\nb' }),
  );
  await expect(store.put('k', BYTES)).rejects.toMatchObject({
    message: 'PutObject s3://images/archive/k: a\\u001b[2J\\u009b b (Odd\\u202e, 400)',
  });
});

describe('a permanent error is reported with its remedy', () => {
  test.each([
    [() => store.put('k', BYTES), /allow s3:PutObject on arn:aws:s3:::images\/archive\/k/],
    [
      () => store.head('k'),
      /allow s3:GetObject on arn:aws:s3:::images\/archive\/k, and s3:ListBucket on arn:aws:s3:::images/,
    ],
    [() => store.get('k', { maxBytes: 1 }), /allow s3:GetObject on arn:aws:s3:::images\/archive\/k/],
    [() => store.delete('k'), /allow s3:DeleteObject on/],
    [() => Array.fromAsync(store.list('blobs/')), /allow s3:ListBucket on arn:aws:s3:::images$/],
    [() => Array.fromAsync(store.uploads('')), /allow s3:ListBucketMultipartUploads on arn:aws:s3:::images$/],
    [
      () => Array.fromAsync(store.parts(upload)),
      /allow s3:ListMultipartUploadParts on arn:aws:s3:::images\/archive\/blobs\/x/,
    ],
    [() => store.createUpload('k', { partSize: 8 * 2 ** 20 }), /allow s3:PutObject on/],
    [() => store.uploadPart(upload, 1, BYTES), /allow s3:PutObject on/],
    [() => store.completeUpload(upload, parts), /allow s3:PutObject on/],
    [() => store.abortUpload(upload), /allow s3:AbortMultipartUpload on/],
  ])('for AccessDenied: %s', async (call, remedy) => {
    s3.onAnyCommand().rejects(serviceException('AccessDenied', 403));
    await expect(call()).rejects.toMatchObject({
      code: 'denied',
      remedy: 'never',
      status: 403,
      message: expect.stringMatching(remedy) as string,
    });
    expect(Object.values(store.requests())).toEqual([1]);
  });

  test.each([
    [serviceException('NoSuchBucket', 404), 'name-unknown', /bucket images does not exist; create it/],
    [
      serviceException('PermanentRedirect', 301, { 'x-amz-bucket-region': 'eu-west-1' }),
      'invalid',
      /region eu-west-1; set AWS_REGION=eu-west-1/,
    ],
    [
      serviceException('AuthorizationHeaderMalformed', 400, { 'x-amz-bucket-region': 'eu-west-1' }),
      'invalid',
      /region eu-west-1/,
    ],
    [serviceException('PermanentRedirect', 301), 'invalid', /another region.*set AWS_REGION/],
    [serviceException('RequestTimeTooSkewed', 403), 'denied', /set this machine's clock/],
    [serviceException('SignatureDoesNotMatch', 403), 'denied', /correct the credentials \(AWS_PROFILE/],
    [serviceException('InvalidAccessKeyId', 403), 'denied', /correct the credentials/],
    [serviceException('EntityTooLarge', 400), 'too-large', /EntityTooLarge/],
    [serviceException('NotImplemented', 501), 'unsupported', /NotImplemented/],
    [new Error('Region is missing'), 'invalid', /AWS_REGION/],
    [Object.assign(new TypeError('Invalid URL'), { code: 'ERR_INVALID_URL' }), 'invalid', /set AWS_ENDPOINT_URL_S3/],
    [
      Object.assign(new Error('Custom endpoint `geheim://h` was not a valid URI'), { name: 'EndpointError' }),
      'invalid',
      /^(?!.*geheim).*set AWS_ENDPOINT_URL_S3/,
    ],
    [
      Object.assign(new Error('Could not load credentials from any providers'), { name: 'CredentialsProviderError' }),
      'denied',
      /AWS_PROFILE/,
    ],
  ])('for %s', async (error, code, message) => {
    s3.on(ListObjectsV2Command).rejects(error);
    await expect(Array.fromAsync(store.list(''))).rejects.toMatchObject({
      code,
      remedy: 'never',
      message: expect.stringMatching(message) as string,
    });
    expect(store.requests()).toEqual({ ListObjectsV2: 1 });
  });

  // Some servers answer 404 to an unknown access key.
  test('a 404 that is not about the object is an error instead of absence', async () => {
    s3.on(GetObjectCommand).rejects(serviceException('NoSuchAccessKey', 404));
    await expect(store.get('k', { maxBytes: 1 })).rejects.toMatchObject({ code: 'invalid', status: 404 });
  });

  test('a bug is thrown at once, without a retry', async () => {
    s3.on(HeadObjectCommand).rejects(new TypeError('undefined is not a function'));
    await expect(store.head('k')).rejects.toMatchObject({ code: 'internal' });
    expect(store.requests()).toEqual({ HeadObject: 1 });
  });
});
