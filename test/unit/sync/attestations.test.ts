/**
 * An image with chosen platforms is complete without the BuildKit attestations that upstream has lost.
 */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Archive } from '../../../lib/archive/archive.ts';
import { checkClosure } from '../../../lib/sync/closure.ts';
import { receiptReader } from '../../../lib/sync/receipt-reader.ts';
import { verifyArchive } from '../../../lib/upkeep/verify.ts';
import type { Digest } from '../../../lib/oci/digest.ts';
import { parsePlatform } from '../../../lib/oci/platform.ts';
import { resolveMessage } from '../../../lib/queue/outgoing.ts';
import { randomBytes, sha256 } from '../../kit/content.ts';
import { hasContent } from '../../kit/has-content.ts';
import { type Layer, makeImage, makeIndex, makeLayer, type Pushable } from '../../kit/images.ts';
import { MemoryStore } from '../../kit/memory-store.ts';
import { mirror, type MirrorOptions } from '../../kit/mirror.ts';
import { startRegistry, type TestRegistry } from '../../kit/registry.ts';
import { NEVER, orderFor, Rig } from './rig.ts';

const AMD64 = [parsePlatform('linux/amd64')];
const layer = makeLayer({ seed: 1 });
const image = makeImage({ layers: [layer] });

function statement(seed: number): Layer {
  const blob = randomBytes(700, seed);
  return { blob, digest: sha256(blob), diffId: sha256(blob), mediaType: 'application/vnd.in-toto+json', size: 700 };
}

const [sbom, provenance] = [statement(2), statement(3)];

/** An attestation as BuildKit stores it: an image manifest whose config lists the layers as diffIDs. */
const attestation = makeImage({ layers: [sbom, provenance], platform: { os: 'unknown', architecture: 'unknown' } });
const annotations = {
  'vnd.docker.reference.type': 'attestation-manifest',
  'vnd.docker.reference.digest': image.digest,
};
const index = makeIndex([image, { ...attestation, descriptor: { ...attestation.descriptor, annotations } }]);
const attestationConfig = sha256(attestation.config);

let registry: TestRegistry;
beforeEach(async () => {
  registry = await startRegistry();
  registry.push('team/app', index, 'v1');
});
afterEach(() => registry.close());

async function mirrored(options: Partial<MirrorOptions> = {}) {
  const references = [`${registry.host}/team/app:v1`];
  const { archive, outcomes } = await mirror({
    store: new MemoryStore(),
    references,
    platforms: AMD64,
    ...options,
  });
  return { archive, outcome: outcomes[0]! };
}

const problemsOf = async (archive: Archive): Promise<readonly (Digest | undefined)[]> =>
  (await verifyArchive(archive, { signal: NEVER, concurrency: 2 })).problems.map(({ digest }) => digest);

test('a complete attestation is mirrored with its image', async () => {
  const { archive, outcome } = await mirrored();
  expect(outcome).toMatchObject({ status: 'mirrored' });
  expect(outcome).not.toHaveProperty('notes');
  for (const digest of attestation.blobs.keys()) expect(await hasContent(archive, digest)).toBe(true);
});

describe.each([
  ['config', attestationConfig],
  ['first layer', sbom.digest],
  ['last layer', provenance.digest],
])('an attestation whose %s is missing upstream', (_, missing) => {
  const note = `attestation ${attestation.digest} is incomplete upstream: ${missing} is missing`;

  test('is left out with a note, and the archive verifies', async () => {
    registry.removeBlob(missing);
    const { archive, outcome } = await mirrored();
    expect(outcome).toMatchObject({ status: 'mirrored' });
    expect(outcome.notes).toHaveLength(1);
    expect(outcome.notes![0]).toContain(`attestation ${attestation.digest} is incomplete upstream: `);
    expect(await problemsOf(archive)).toEqual([]);
    const reader = receiptReader(archive, NEVER);
    const state = await checkClosure(index.digest, { platforms: AMD64 }, reader, { mayLack: () => true });
    expect(state).toMatchObject({ complete: true });
  });

  test('fails an image that is mirrored with all platforms', async () => {
    registry.removeBlob(missing);
    expect((await mirrored({ platforms: 'all' })).outcome).toMatchObject({ status: 'failed', code: 'blob-unknown' });
  });

  test('is left out even if an earlier run has stored the rest of it', async () => {
    registry.removeBlob(missing);
    const store = new MemoryStore();
    await mirrored({ store, platforms: 'all' });
    const { archive, outcome } = await mirrored({ store });
    expect(outcome).toMatchObject({ status: 'mirrored', notes: [note] });
    expect(await problemsOf(archive)).toEqual([]);
  });

  test('fails an image if its lookup fails, so that it is not known to be missing', async () => {
    registry.misbehave({ match: { digest: missing }, do: { status: 403 } });
    expect((await mirrored()).outcome).toMatchObject({ status: 'failed', code: 'denied' });
  });
});

test.each([
  ['layer', layer.digest],
  ['config', sha256(image.config)],
])('an image whose own %s is missing upstream fails', async (_, missing) => {
  registry.removeBlob(missing);
  expect((await mirrored()).outcome).toMatchObject({ status: 'failed', code: 'blob-unknown' });
});

test('an image waits for an attestation that is in transfer', async () => {
  await using rig = new Rig();
  const order = { ...orderFor(registry, 'team/app'), platforms: AMD64 };
  await rig.resolve(resolveMessage(order, { kind: 'images', images: [{ tag: 'v1' }] }).message);
  const isOfImage = (digest: Digest): boolean => digest === layer.digest;
  for (const message of rig.sent('layer')) if (isOfImage(message.blob.digest)) await rig.copy(message);
  await rig.finalize(rig.sent('finalize'));
  expect(rig.records).toEqual([]);
  for (const message of rig.sent('layer')) if (!isOfImage(message.blob.digest)) await rig.copy(message);
  await rig.finalize(rig.sent('finalize'));
  expect(rig.records).toMatchObject([{ status: 'mirrored' }]);
});

describe('verify', () => {
  test('reports a receipt of an attestation whose object is missing', async () => {
    const { archive } = await mirrored();
    await archive.store.delete(archive.layout.blob(sbom.digest));
    expect(await problemsOf(archive)).toEqual([sbom.digest]);
  });

  test('reports a corrupt object of an attestation', async () => {
    const { archive } = await mirrored();
    await archive.store.put(archive.layout.blob(sbom.digest), randomBytes(700, 9));
    expect(await problemsOf(archive)).toEqual([sbom.digest]);
  });
});

test('sends no further request if the archive has the attestation', async () => {
  const store = new MemoryStore();
  await mirrored({ store });
  registry.forgetRequests();
  const other: Pushable = makeIndex([image, index.children[1]!], 'oci', { annotations: { other: 'index' } });
  registry.push('team/app', other, 'v1');
  expect((await mirrored({ store })).outcome).toMatchObject({ status: 'mirrored', digest: other.digest });
  expect(registry.count({ kind: 'blob' })).toBe(0);
});
