/** Attests images: one attestation per image, platforms and key. */
import { createHash } from 'node:crypto';
import { settleEach } from '../../core/settle-all.ts';
import type { Archive } from '../../archive/archive.ts';
import { keptAttestation } from '../../archive/attestations.ts';
import type { TagChange } from '../../archive/tag-index/tag-index.ts';
import { attestationOf, signStatement } from '../../attest/attestation.ts';
import type { AttestationKey } from '../../attest/key.ts';
import {
  type Mirrored,
  PREDICATE_TYPE,
  type ProvenBlob,
  type ProvenContent,
  statementOf,
} from '../../attest/statement.ts';
import type { Digest } from '../../oci/digest.ts';
import { formatPlatform } from '../../oci/platform.ts';
import { algorithmsOf } from '../../proof/algorithms.ts';
import type { Scope } from '../../queue/messages.ts';
import { readClaims, traverse } from '../closure.ts';
import { receiptReader } from '../receipt-reader.ts';
import { storeBytes } from '../store-bytes.ts';

/** Images that are attested concurrently. */
const SIDE_BY_SIDE = 4;

/** The signer of an archive, and the release of mirror-sync that makes the statement. */
export interface Attestor {
  readonly key: AttestationKey;
  readonly version: string;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

/** An image whose closure is complete. */
export interface AttestedImage extends Omit<Mirrored, 'content' | 'attested'>, Pick<Scope, 'foreignLayers'> {
  readonly mediaType: string;
  /** Bytes of the manifest. */
  readonly size: number;
}

/**
 * Writes the attestations of images as content. A repeated call writes nothing.
 *
 * @returns their entries for the tag index
 */
export async function attestImages(
  archive: Archive,
  attestor: Attestor,
  images: readonly AttestedImage[],
  signal: AbortSignal,
): Promise<readonly TagChange[]> {
  const byName = new Map(images.map((image) => [nameOf(image, attestor.key), image]));
  return settleEach(byName, SIDE_BY_SIDE, ([name, image]) => attestOne(archive, attestor, name, image, signal));
}

/** Only a change of the image, its platforms or the key gives another attestation. */
function nameOf({ repository, digest, platforms }: AttestedImage, { id }: AttestationKey): string {
  const scope = platforms === 'all' ? platforms : platforms.map(formatPlatform).sort();
  return createHash('sha256')
    .update(JSON.stringify([repository, digest, PREDICATE_TYPE, id, scope]))
    .digest('hex');
}

async function attestOne(
  archive: Archive,
  { key, version, now }: Attestor,
  name: string,
  image: AttestedImage,
  signal: AbortSignal,
): Promise<TagChange> {
  const at = now();
  const make = async (): Promise<Uint8Array> => {
    const content = await contentOf(archive, image, signal);
    return signStatement(statementOf({ ...image, content, attested: at }, version), key);
  };
  const bundle = await keptAttestation(archive, name, make, { signal });
  const { manifest, blobs, artifactType, attested } = attestationOf(bundle, image);
  for (const { bytes, ...blob } of blobs)
    await storeBytes(archive, blob, bytes, { source: image.repository, now: at, signal });
  const { bytes, ...descriptor } = manifest;
  await archive.putContent(descriptor.digest, bytes, { signal });
  return { descriptor, observed: attested, platforms: 'all', subject: image.digest, artifactType, attestedBy: key.id };
}

/** The proven content of an image whose closure the finalizer has checked. */
async function contentOf(archive: Archive, image: AttestedImage, signal: AbortSignal): Promise<ProvenContent> {
  const { content, proof: proofOf } = receiptReader(archive, signal);
  const manifests: ProvenContent['manifests'][number][] = [];
  const blobs = new Map<Digest, ProvenBlob>();
  for await (const { digest, bytes, manifest } of traverse(image.digest, image.platforms, content)) {
    const found = manifest === undefined ? undefined : await readClaims(digest, manifest, image, content);
    // An attestation that upstream lacks.
    if (manifest === undefined || found === undefined || 'missing' in found) continue;
    manifests.push({ digest, mediaType: manifest.mediaType, size: bytes });
    const { claims, config } = found;
    if (config !== undefined)
      blobs.set(config.digest, { digest: config.digest, mediaType: config.mediaType, size: config.size });
    for (const blob of claims.blobs) {
      const proof = await proofOf(blob);
      if (proof === undefined) continue;
      const [diffId] = algorithmsOf(blob).flatMap((algorithm) => proof.diffIds[algorithm] ?? []);
      const proven = { digest: blob.digest, mediaType: blob.mediaType, size: proof.size };
      blobs.set(blob.digest, diffId === undefined ? proven : { ...proven, diffId });
    }
  }
  return { manifests, blobs: [...blobs.values()] };
}
