import { beforeEach, describe, expect, test, vi } from 'vitest';
import { Archive } from '../../../lib/archive/archive.ts';
import { ociLayout } from '../../../lib/archive/oci-layout.ts';
import { parseAttestationKey } from '../../../lib/attest/key.ts';
import { attestationFault } from '../../../lib/attest/attestation.ts';
import { Failure } from '../../../lib/core/failure.ts';
import type { Digest } from '../../../lib/oci/digest.ts';
import { parseManifest } from '../../../lib/oci/manifest.ts';
import { parsePlatform } from '../../../lib/oci/platform.ts';
import { parsePublicKey, type TrustedKey } from '../../../lib/signatures/public-key.ts';
import { attestImages, type AttestedImage, type Attestor } from '../../../lib/sync/finalizer/attest.ts';
import { checkClosure } from '../../../lib/sync/closure.ts';
import { receiptReader } from '../../../lib/sync/receipt-reader.ts';
import { checkAttestations } from '../../../lib/upkeep/attested.ts';
import type { Problem } from '../../../lib/upkeep/verify.ts';
import { makeImage, makeIndex, makeLayer, type Pushable } from '../../kit/images.ts';
import { MemoryStore } from '../../kit/memory-store.ts';
import { keyPair, pemOf } from '../../kit/sigstore.ts';
import { NEVER, receiptOf } from './rig.ts';

const LAYER = makeLayer();
const IMAGE = makeImage({ layers: [LAYER] });
const INDEX = makeIndex([IMAGE]);
const REPOSITORY = 'registry.example/app';
const AT = Date.UTC(2026, 0, 2);

let archive: Archive;

beforeEach(async () => {
  archive = new Archive(new MemoryStore(), ociLayout);
  for (const { digest, manifest } of [IMAGE, INDEX]) await archive.putContent(digest, manifest);
  for (const [digest, bytes] of IMAGE.blobs) await archive.putContent(digest, bytes);
  await archive.putReceipt(receiptOf(LAYER));
});

const { publicKey, privateKey } = keyPair();

function attestor(key = privateKey, now = AT): Attestor {
  const pem = key.export({ format: 'pem', type: 'pkcs8' }).toString();
  return { key: parseAttestationKey(pem), version: '1.0.0', now: () => now };
}

function imageOf({ digest, mediaType, manifest }: Pushable, more: Partial<AttestedImage> = {}): AttestedImage {
  return {
    repository: REPOSITORY,
    source: REPOSITORY,
    digest,
    mediaType,
    size: manifest.length,
    observed: AT - 1000,
    platforms: 'all',
    policy: { verify: 'off', minimumAgeMs: 0, moved: 'follow' },
    ...more,
  };
}

/** Attests images and writes the entries of their attestations. */
async function attest(by: Attestor, images: readonly AttestedImage[]): Promise<void> {
  await archive.updateTags(REPOSITORY, await attestImages(archive, by, images, NEVER));
}

async function attestations(): Promise<readonly Digest[]> {
  const index = (await archive.tagIndex(REPOSITORY))?.index;
  return index?.entries().map(({ digest }) => digest) ?? [];
}

async function bundleOf(digest: Digest): Promise<Uint8Array> {
  const bytes = await archive.content(digest, { maxBytes: 10_000 });
  const manifest = parseManifest(bytes!);
  if (manifest.kind !== 'image') throw new Error('an attestation is an image manifest');
  return (await archive.content(manifest.layers[0]!.digest, { maxBytes: 100_000 }))!;
}

describe('the attestation of an image', () => {
  test('is signed, complete in the archive, and names the proven content', async () => {
    await attest(attestor(), [imageOf(INDEX)]);
    const [digest] = await attestations();
    const bundle = await bundleOf(digest!);
    expect(attestationFault(bundle, INDEX.digest, [parsePublicKey(pemOf(publicKey))])).toBeUndefined();
    expect(await checkClosure(digest!, { platforms: 'all' }, receiptReader(archive, NEVER))).toMatchObject({
      complete: true,
    });
    const { dsseEnvelope } = JSON.parse(Buffer.from(bundle).toString()) as { dsseEnvelope: { payload: string } };
    const { mediaType: configType } = (JSON.parse(IMAGE.manifest.toString()) as { config: { mediaType: string } })
      .config;
    const [config] = IMAGE.blobs.keys();
    expect(JSON.parse(Buffer.from(dsseEnvelope.payload, 'base64').toString())).toMatchObject({
      predicate: {
        archive: { attested: new Date(AT).toISOString() },
        proven: {
          platforms: 'all',
          manifests: [{ digest: INDEX.digest }, { digest: IMAGE.digest, size: IMAGE.manifest.length }],
          blobs: [
            { digest: config, mediaType: configType, size: IMAGE.config.length },
            { digest: LAYER.digest, size: LAYER.size, diffId: LAYER.diffId },
          ],
        },
      },
    });
  });

  test('is made once per image, platforms and key', async () => {
    const all = imageOf(INDEX);
    const some = imageOf(INDEX, { platforms: [parsePlatform('linux/amd64')] });
    await attest(attestor(), [all, all]);
    await attest(attestor(privateKey, AT + 1), [all]);
    expect(await attestations()).toHaveLength(1);
    await attest(attestor(), [some, imageOf(IMAGE)]);
    expect(await attestations()).toHaveLength(3);
    await attest(attestor(keyPair().privateKey), [all]);
    expect(await attestations()).toHaveLength(4);
  });

  test('is not signed a second time, because a key service charges for each signature', async () => {
    const by = attestor();
    const sign = vi.fn(by.key.sign);
    for (let time = 0; time < 2; time += 1) await attest({ ...by, key: { ...by.key, sign } }, [imageOf(INDEX)]);
    expect(sign).toHaveBeenCalledTimes(1);
  });

  test('is one even if two processes sign it at the same time', async () => {
    await Promise.all([1, 2, 3].map((at) => attest(attestor(privateKey, AT + at), [imageOf(INDEX)])));
    expect(await attestations()).toHaveLength(1);
  });

  test('can be tried again if the one of another process is deleted before it is read', async () => {
    const conflict = { operation: 'put', side: 'archive', code: 'precondition-failed', detail: 'it exists' } as const;
    vi.spyOn(archive.store, 'put').mockRejectedValueOnce(new Failure(conflict));
    await expect(attest(attestor(), [imageOf(INDEX)])).rejects.toMatchObject({ ...conflict, remedy: 'retry' });
    await attest(attestor(), [imageOf(INDEX)]);
    expect(await attestations()).toHaveLength(1);
  });
});

describe('the check of attestations', () => {
  const mine = parsePublicKey(pemOf(publicKey));
  const other = parsePublicKey(pemOf(keyPair().publicKey));

  async function problems(keys: readonly TrustedKey[]): Promise<readonly string[]> {
    const found: string[] = [];
    const onProblem = ({ reference, reason }: Problem): void => void found.push(`${reference}: ${reason}`);
    const options = { keys, repositories: [REPOSITORY], onProblem, signal: NEVER };
    expect(await checkAttestations(archive, options)).toBe(found.length);
    return found;
  }

  test('reports each tag without an attestation by a trusted key', async () => {
    const { mediaType, digest, manifest } = INDEX;
    const descriptor = { mediaType, digest, size: manifest.length };
    await archive.updateTags(REPOSITORY, [{ tag: '1', descriptor, observed: AT, platforms: 'all' }]);
    expect(await problems([mine])).toEqual([`${REPOSITORY}:1: it has no attestation by ${mine.name}`]);
    await attest(attestor(), [imageOf(INDEX)]);
    expect(await problems([other, mine])).toEqual([]);
    expect(await problems([])).toEqual([]);
    expect(await problems([other])).toEqual([
      expect.stringMatching(`^${REPOSITORY}:1: it has no attestation by ${other.name}; sha256:.*: it is by a key`),
    ]);
  });
});
