import { expect, test } from 'vitest';
import { parseReceipt, type Receipt, serialiseReceipt } from '../../../lib/archive/receipt.ts';
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

test('a receipt is read as it was written', () => {
  expect(parseReceipt(serialiseReceipt(receipt), digest)).toEqual(receipt);
});

// What is not exactly a proof of this blob is none.
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
])('a wrong %s is refused', (name, bytes) => {
  expect(() => parseReceipt(bytes, digest)).toThrow(
    expect.objectContaining({ code: 'corrupt', side: 'archive', detail: expect.stringContaining(name) as string }),
  );
});
