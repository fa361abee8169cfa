import { expect, test } from 'vitest';
import { digestOf } from '../../../lib/oci/digest.ts';
import { knownContent } from '../../../lib/oci/known-content.ts';

const CONTENT = Buffer.from('some content');
const DATA = CONTENT.toString('base64');

test.each([
  ['nothing', Buffer.alloc(0)],
  ['the OCI empty descriptor', Buffer.from('{}')],
])('knows %s by SHA-256 and SHA-512 without a request', (_, bytes) => {
  for (const algorithm of ['sha256', 'sha512'] as const)
    expect(Buffer.from(knownContent({ digest: digestOf(bytes, algorithm), size: bytes.length }) ?? 'unknown')).toEqual(
      bytes,
    );
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
