import fc from 'fast-check';
import { digestOf } from '../../../lib/oci/digest.ts';
import { describe, expect, test } from 'vitest';
import { knownContent, readDescriptor } from '../../../lib/oci/descriptor.ts';
import { Place } from '../../../lib/oci/document.ts';
import { DIGEST, failureOf, onlyFailures } from './arbitraries.ts';

function descriptorOf(value: unknown, place: string): ReturnType<typeof readDescriptor> {
  return readDescriptor(new Place('parse descriptor', place, value));
}

const plain = { mediaType: 'application/octet-stream', digest: DIGEST, size: 42 };

describe('descriptor', () => {
  test('keeps known fields and drops unknown ones', () => {
    const full = {
      ...plain,
      urls: ['https://example.com/layer'],
      annotations: { key: 'value' },
      artifactType: 'application/vnd.example',
    };
    const platform = { os: 'linux', architecture: 'arm', variant: 'v7', 'os.version': '', features: ['sse4'] };
    expect(descriptorOf({ ...full, platform, data: 'e30=' }, 'config')).toEqual({
      ...full,
      data: 'e30=',
      platform: { os: 'linux', architecture: 'arm', variant: 'v7' },
    });
  });

  // Go's encoders write null for unset fields.
  test('leaves out an annotation that is null', () => {
    const annotations = { kept: 'a text', none: null };
    const plain = {
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      digest: digestOf(Buffer.from('x')),
      size: 1,
    };
    expect(descriptorOf({ ...plain, annotations }, 'x').annotations).toEqual({ kept: 'a text' });
  });

  test('has at most 32 URLs, and ignores the others', () => {
    const urls = Array.from({ length: 40 }, (_, n) => `https://example.com/${n}`);
    expect(descriptorOf({ ...plain, urls }, 'x').urls).toEqual(urls.slice(0, 32));
  });

  test('treats null and a platform without a name as missing', () => {
    const platform = { os: '', architecture: '' };
    expect(descriptorOf({ ...plain, urls: null, annotations: null, platform, artifactType: '' }, 'x')).toEqual(plain);
  });

  test.each([
    [null, 'layers[3]: must be an object, not null'],
    [undefined, 'layers[3]: is missing; it must be an object'],
    [[plain], 'layers[3]: must be an object, not an array'],
    [{ ...plain, mediaType: undefined }, 'layers[3].mediaType: is missing'],
    [{ ...plain, mediaType: '' }, 'layers[3].mediaType: must be a media type'],
    [{ ...plain, mediaType: 'a/b\r\nX: y' }, 'layers[3].mediaType: must be a media type'],
    [{ ...plain, digest: 'sha256:xyz' }, 'layers[3].digest: "sha256:xyz" has 3 characters'],
    [{ ...plain, digest: 7 }, 'layers[3].digest: must be a string, not 7'],
    [{ ...plain, size: -1 }, 'layers[3].size: must be a whole number of bytes from 0'],
    [{ ...plain, size: 1.5 }, 'layers[3].size: must be a whole number of bytes'],
    [{ ...plain, size: 2 ** 53 }, 'layers[3].size: must be a whole number of bytes'],
    [{ ...plain, size: '42' }, 'layers[3].size: must be a whole number of bytes from 0 to 9007199254740991, not "42"'],
    [{ ...plain, size: undefined }, 'layers[3].size: is missing'],
    [{ ...plain, urls: 'https://example.com' }, 'layers[3].urls: must be an array'],
    [{ ...plain, urls: [1] }, 'layers[3].urls[0]: must be a string'],
    [{ ...plain, annotations: { a: 1 } }, 'layers[3].annotations.a: must be a string, not 1'],
    [{ ...plain, platform: 'linux' }, 'layers[3].platform: must be an object'],
    [{ ...plain, platform: { os: 'linux', architecture: 3 } }, 'layers[3].platform.architecture: must be a string'],
  ])('%j is refused: %s', (value, detail) => {
    const failure = failureOf(() => descriptorOf(value, 'layers[3]'));
    expect(failure).toMatchObject({ code: 'invalid', operation: 'parse descriptor' });
    expect(failure.detail).toContain(detail);
  });

  test('parsing arbitrary values throws only Failures', () => {
    const nearly = fc.record({
      mediaType: fc.anything(),
      digest: fc.anything(),
      size: fc.anything(),
      annotations: fc.anything(),
    });
    fc.assert(
      fc.property(fc.oneof(fc.anything({ withBigInt: true, withNullPrototype: true }), nearly), (value) => {
        onlyFailures(() => descriptorOf(value, 'config'));
      }),
    );
  });
});

describe('known content', () => {
  const CONTENT = Buffer.from('some content');
  const DATA = CONTENT.toString('base64');

  test.each([
    ['nothing', Buffer.alloc(0)],
    ['the OCI empty descriptor', Buffer.from('{}')],
  ])('knows %s by SHA-256 and SHA-512 without a request', (_, bytes) => {
    for (const algorithm of ['sha256', 'sha512'] as const)
      expect(
        Buffer.from(knownContent({ digest: digestOf(bytes, algorithm), size: bytes.length }) ?? 'unknown'),
      ).toEqual(bytes);
  });

  test('returns the bytes in the data of a descriptor', () => {
    expect(knownContent({ digest: digestOf(CONTENT), size: CONTENT.length, data: DATA })).toEqual(CONTENT);
  });

  test.each([
    ['carries nothing', {}],
    ['carries other bytes of the same length', { data: Buffer.from('same length.').toString('base64') }],
    ['has another size', { data: DATA, size: CONTENT.length + 1 }],
    ['has no size', { data: DATA, size: undefined }],
  ])('does not know the content of a descriptor that %s', (_, facts) => {
    const { size, ...descriptor } = { digest: digestOf(CONTENT), size: CONTENT.length as number | undefined, ...facts };
    expect(knownContent({ ...descriptor, ...(size === undefined ? {} : { size }) })).toBeUndefined();
  });
});
