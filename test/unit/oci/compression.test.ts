import { expect, test } from 'vitest';
import { detectCompression } from '../../../lib/oci/compression.ts';
import { tar } from '../../kit/tar.ts';

/** A tar header with a name in Latin-1, and its checksum as the sum of signed or unsigned bytes. */
function header(sum: 'signed' | 'unsigned' | 'wrong'): Buffer {
  const head = tar([{ path: 'name', content: '' }]).subarray(0, 512);
  head.write('caf\u00e9', 0, 'latin1');
  head.write(' '.repeat(8), 148, 'latin1');
  const bytes = sum === 'signed' ? new Int8Array(head) : head;
  const total = [...bytes].reduce((all, byte) => all + byte, sum === 'wrong' ? 1 : 0);
  head.write(`${total.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return head;
}

test.each([
  ['signed', 'none'],
  ['unsigned', 'none'],
  ['wrong', 'gzip'],
] as const)(
  'a tar header with the checksum %s is detected as %s, even if the bytes are declared as compressed',
  (sum, compression) => {
    expect(detectCompression(header(sum), 'gzip', { whole: false })).toBe(compression);
  },
);

test('accepts tar checksums of signed and of unsigned bytes', () => {
  const head = header('unsigned');
  for (const byte of [0x7f, 0x80]) {
    head[0] = byte;
    head.write(' '.repeat(8), 148, 'latin1');
    const signed = [...new Int8Array(head)].reduce((all, each) => all + each, 0);
    head.write(`${signed.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
    expect(detectCompression(head, 'gzip', { whole: false })).toBe('none');
  }
});

test('treats a block of zeros as an empty archive', () => {
  expect(detectCompression(Buffer.alloc(512), 'gzip', { whole: false })).toBe('none');
});

test.each([
  [Buffer.from([0x1f, 0x8b, 0x08, 0]), 'gzip'],
  [Buffer.from([0x28, 0xb5, 0x2f, 0xfd]), 'zstd'],
  [Buffer.from([0x50, 0x2a, 0x4d, 0x18]), 'zstd'],
  [Buffer.from([0x5f, 0x2a, 0x4d, 0x18]), 'zstd'],
])('relies on the magic number %o and ignores the declaration', (head, compression) => {
  for (const declared of ['gzip', 'zstd'] as const)
    expect(detectCompression(head, declared, { whole: false })).toBe(compression);
  expect(detectCompression(head, 'none', { whole: false })).toBeUndefined();
  expect(detectCompression(head, 'none', { whole: true })).toBe(compression);
});

test('requires 512 bytes to decide, unless the blob is shorter', () => {
  for (const length of [3, 4, 511]) {
    const head = header('unsigned').subarray(0, length);
    expect(detectCompression(head, 'gzip', { whole: false })).toBeUndefined();
    expect(detectCompression(head, 'gzip', { whole: true })).toBe('gzip');
  }
});
