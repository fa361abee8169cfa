import { describe, expect, test } from 'vitest';
import {
  mergedReceipt,
  parseReceipt,
  provesAsMuch,
  type Receipt,
  serialiseReceipt,
  serialiseRevocation,
} from '../../../lib/archive/receipt.ts';
import { digestOf } from '../../../lib/oci/digest.ts';

const digest = digestOf(Buffer.from('blob'));
const receipt: Receipt = {
  version: 1,
  digest,
  size: 4,
  diffIds: { sha256: digestOf(Buffer.from('unpacked')) },
  compression: 'gzip',
  source: 'docker.io/library/alpine',
  verifiedAt: '2026-01-31T00:00:00.000Z',
};

function bytesOf(fields: object): Uint8Array {
  return Buffer.from(JSON.stringify({ ...receipt, ...fields }));
}

test('a receipt keeps its fields when it is written and read', () => {
  expect(parseReceipt(serialiseReceipt(receipt), digest)).toEqual(receipt);
});

test('a receipt of an earlier version has a sha256 diffID, and only assumes plain bytes', () => {
  const { diffIds, ...others } = receipt;
  const earlier = { ...others, diffId: diffIds.sha256 };
  expect(parseReceipt(Buffer.from(JSON.stringify(earlier)), digest)).toEqual(receipt);
  const plain = { ...earlier, compression: 'none' };
  expect(parseReceipt(Buffer.from(JSON.stringify(plain)), digest)).toEqual({
    ...receipt,
    compression: 'none',
    assumed: true,
  });
});

test('a receipt of an opaque blob has neither diffIDs nor a compression', () => {
  const { compression: _, ...opaque } = { ...receipt, diffIds: {} };
  expect(parseReceipt(serialiseReceipt(opaque), digest)).toEqual(opaque);
});

test('a revocation has its time, and is not a receipt', () => {
  expect(parseReceipt(serialiseRevocation(1_000), digest)).toEqual({ revoked: 1_000 });
});

test('earlier versions find the sha256 in its old field', () => {
  const text = Buffer.from(serialiseReceipt(receipt)).toString();
  expect(JSON.parse(text)).toMatchObject({ diffId: receipt.diffIds.sha256 });
});

describe('two receipts of one blob', () => {
  const sha512 = digestOf(Buffer.from('unpacked'), 'sha512');
  const both: Receipt = { ...receipt, diffIds: { ...receipt.diffIds, sha512 } };
  const { compression: _, ...opaque } = { ...receipt, diffIds: {} };
  test.each<[string, Receipt, Receipt, boolean]>([
    ['the same', receipt, receipt, true],
    ['an opaque one adds nothing', receipt, opaque, true],
    ['a layer adds to an opaque one', opaque, receipt, false],
    ['another algorithm adds', receipt, { ...receipt, diffIds: { sha512 } }, false],
    ['fewer algorithms add nothing', both, receipt, true],
    ['another size', receipt, { ...receipt, size: 5 }, false],
    ['another diffID', receipt, { ...receipt, diffIds: { sha256: digest } }, false],
    [
      'what was only assumed',
      { ...receipt, compression: 'none', assumed: true },
      { ...receipt, compression: 'none' },
      false,
    ],
  ])('%s: the first proves as much as the second: %s', (_, there, other, expected) => {
    expect(provesAsMuch(there, other)).toBe(expected);
  });

  test('are merged unless they contradict each other', () => {
    const second: Receipt = { ...receipt, diffIds: { sha512 } };
    expect(mergedReceipt(second, receipt).diffIds).toEqual(both.diffIds);
    expect(mergedReceipt(second, { ...receipt, compression: 'zstd' })).toEqual(second);
    const wrong = { ...both, diffIds: { ...both.diffIds, sha256: digest } };
    expect(mergedReceipt(receipt, wrong)).toEqual(receipt);
  });
});

test.each([
  ['version', bytesOf({ version: 2 })],
  ['digest', bytesOf({ digest: receipt.diffIds.sha256 })],
  ['digest', bytesOf({ digest: 'sha256:1' })],
  ['size', bytesOf({ size: -1 })],
  ['size', bytesOf({ size: '4' })],
  ['diffId', bytesOf({ diffIds: undefined })],
  ['diffIds', bytesOf({ diffIds: { sha512: digest } })],
  ['diffIds', bytesOf({ diffIds: 1 })],
  ['compression', bytesOf({ compression: undefined })],
  ['compression', bytesOf({ diffIds: {} })],
  ['compression', bytesOf({ compression: 'bzip2' })],
  ['source', bytesOf({ source: null })],
  ['verifiedAt', bytesOf({ verifiedAt: 'yesterday' })],
  ['JSON', Buffer.from('{"version":1')],
  ['object', Buffer.from('null')],
])('a receipt with a wrong %s is refused', (name, bytes) => {
  expect(() => parseReceipt(bytes, digest)).toThrow(
    expect.objectContaining({ code: 'invalid', side: 'input', detail: expect.stringContaining(name) as string }),
  );
});
