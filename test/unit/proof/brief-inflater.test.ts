/** The path of a small blob: one call, and a stream only for a blob that is not plainly correct. */
import { gzipSync } from 'node:zlib';
import type zlib from 'node:zlib';
import { beforeEach, expect, test, vi } from 'vitest';
import { digestOf } from '../../../lib/oci/digest.ts';
import { Prover } from '../../../lib/proof/prover.ts';
import { randomBytes } from '../../kit/content.ts';

const seen = vi.hoisted(() => ({ streams: 0 }));

vi.mock('node:zlib', async (importOriginal) => {
  const original = await importOriginal<typeof zlib>();
  const createGunzip: typeof original.createGunzip = (options) => {
    seen.streams += 1;
    return original.createGunzip(options);
  };
  return { ...original, createGunzip };
});

beforeEach(() => {
  seen.streams = 0;
});

async function prove(blob: Buffer, size: number | undefined = blob.length): Promise<string | undefined> {
  const mediaType = 'application/vnd.oci.image.layer.v1.tar+gzip';
  const prover = new Prover({ digest: digestOf(blob), mediaType, size, diffIds: ['sha256'] });
  try {
    await prover.write(blob);
    return (await prover.finish()).diffIds.sha256;
  } finally {
    await prover.destroy();
  }
}

test.each([
  ['of one member', [Buffer.from('content')]],
  ['of several members', [Buffer.from('content'), Buffer.from(''), Buffer.from('more')]],
  ['of 16 KiB that hardly compress', [randomBytes(16_000, 1)]],
  ['of 256 KiB that compress well', [Buffer.alloc(256 * 1024)]],
])('a small blob %s needs no stream', async (_, members) => {
  expect(await prove(Buffer.concat(members.map((member) => gzipSync(member))))).toBe(digestOf(Buffer.concat(members)));
  expect(seen.streams).toBe(0);
});

test.each([
  ['of more than 16 KiB', randomBytes(17_000, 1)],
  ['of more than 256 KiB that compress well', Buffer.alloc(256 * 1024 + 1)],
])('a blob %s needs a stream', async (_, content) => {
  expect(await prove(gzipSync(content))).toBe(digestOf(content));
  expect(seen.streams).toBe(1);
});
