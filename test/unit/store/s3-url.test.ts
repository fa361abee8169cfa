import fc from 'fast-check';
import { expect, test } from 'vitest';
import { isS3Url, parseS3Url } from '../../../lib/store/s3/url.ts';
import { Failure } from '../../../lib/core/failure.ts';

test.each([
  ['s3://bucket', 'bucket', ''],
  ['s3://bucket/', 'bucket', ''],
  ['S3://bucket/A', 'bucket', 'A'],
  ['s3://my.bucket-1/a', 'my.bucket-1', 'a'],
  ['s3://bucket/a/b_C=1/', 'bucket', 'a/b_C=1'],
])('reads %s as bucket and prefix', (text, bucket, prefix) => {
  expect(parseS3Url(text)).toEqual({ bucket, prefix });
});

test.each([
  ['bucket/prefix', /does not start with s3:/],
  ['s3://', /3 to 63/],
  ['s3:///prefix', /3 to 63/],
  [`s3://${'a'.repeat(64)}`, /3 to 63/],
  ['s3://Bucket', /invalid bucket name/],
  ['s3://my_bucket', /invalid bucket name/],
  ['s3://-bucket', /invalid bucket name/],
  ['s3://a..b', /invalid bucket name/],
  ['s3://127.0.0.1', /an IP address/],
  ['s3://bucket:9000/x', /invalid bucket name/],
  ['s3://bucket//x', /component ''/],
  ['s3://bucket/x//', /component ''/],
  ['s3://bucket/a/../b', /component '\.\.'/],
  ['s3://bucket/./b', /component '\.'/],
  ['s3://bucket/a?region=eu-west-1', /set options for the SDK/],
  ['s3://bucket/a\nb', /control character/],
])('refuses %s with the problem', (text, why) => {
  expect(() => parseS3Url(text)).toThrow(why);
  expect(() => parseS3Url(text)).toThrow(expect.objectContaining({ code: 'invalid', side: 'input' }) as Failure);
});

test('does not repeat a login in the place of the bucket', () => {
  expect(() => parseS3Url('s3://key:geheim@bucket/x')).toThrow(
    /^read the archive's URL "s3:\/\/\[redacted\]@bucket\/x": (?!.*geheim)/,
  );
});

test('throws only Failures, and every accepted URL can be written back', () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.string({ unit: 'binary' }).map((text) => `s3://bucket/${text}`),
      ),
      (text) => {
        try {
          const { bucket, prefix } = parseS3Url(text);
          expect(parseS3Url(`s3://${bucket}/${prefix}`)).toEqual({ bucket, prefix });
          expect(isS3Url(text)).toBe(true);
        } catch (error) {
          expect(error).toBeInstanceOf(Failure);
        }
      },
    ),
  );
});
