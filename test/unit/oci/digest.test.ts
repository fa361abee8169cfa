import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { digestOf, digestParts, hasher, isDigest, parseDigest, toDigest } from '../../../lib/oci/digest.ts';
import { digests, failureOf, onlyFailures } from './arbitraries.ts';

describe('digest', () => {
  // These are the known digests of empty input (FIPS 180-4).
  test('is computed with either algorithm', () => {
    expect(digestOf(new Uint8Array())).toBe('sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855');
    expect(digestOf(new Uint8Array(), 'sha512')).toMatch(/^sha512:cf83e1357eefb8bd.*da3e$/);
    expect(hasher('sha512').update('').digest('hex')).toHaveLength(128);
  });

  test('is the same text after it was parsed and joined again', () => {
    fc.assert(
      fc.property(digests, (digest) => {
        const { algorithm, hex } = digestParts(digest);
        expect(toDigest(algorithm, hex)).toBe(digest);
        expect(parseDigest(digest)).toBe(digest);
      }),
    );
  });

  test.each([
    ['', 'is not a digest'],
    ['sha256', 'is not a digest'],
    ['f'.repeat(64), 'is not a digest'],
    ['sha256:', 'has 0 characters after sha256: (expected 64)'],
    [`sha256:${'a'.repeat(63)}`, 'has 63 characters'],
    [`sha256:${'a'.repeat(65)}`, 'has 65 characters'],
    [`sha512:${'a'.repeat(64)}`, '(expected 128)'],
    [`sha256:${'A'.repeat(64)}`, 'write them in lower case'],
    [`sha256:${'g'.repeat(64)}`, 'not hex digits'],
    [`sha256:${'a'.repeat(63)}\n`, 'not hex digits'],
    [`SHA256:${'a'.repeat(64)}`, 'only sha256 and sha512'],
    [`sha384:${'a'.repeat(96)}`, 'names the digest algorithm "sha384"'],
    [`md5:${'a'.repeat(32)}`, 'only sha256 and sha512'],
    [`sha256:sha256:${'a'.repeat(57)}`, 'not hex digits'],
    [`../../etc:${'a'.repeat(64)}`, 'only sha256 and sha512'],
  ])('%j is refused: it %s', (text, detail) => {
    expect(isDigest(text)).toBe(false);
    expect(failureOf(() => parseDigest(text))).toMatchObject({
      code: 'invalid',
      detail: expect.stringContaining(detail) as string,
    });
  });

  test('parsing arbitrary text throws only Failures', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string({ unit: 'binary' }),
          fc.string().map((text) => `sha256:${text}`),
        ),
        (text) => {
          onlyFailures(() => parseDigest(text));
        },
      ),
    );
  });
});
