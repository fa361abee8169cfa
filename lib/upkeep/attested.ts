/** Checks that each tag of an archive has an attestation by a trusted key. */
import type { Archive } from '../archive/archive.ts';
import type { TagIndex } from '../archive/tag-index/tag-index.ts';
import { ATTESTATION_TYPE, attestationFault } from '../attest/attestation.ts';
import { asFailure } from '../core/failure.ts';
import type { Digest } from '../oci/digest.ts';
import { MANIFEST_LIMITS, parseManifest } from '../oci/manifest.ts';
import { isReferrerTag } from '../oci/referrer-tags.ts';
import type { TrustedKey } from '../signatures/public-key.ts';
import { SIGNATURE_LIMITS } from '../signatures/signature.ts';
import type { Problem } from './verify.ts';

export interface AttestedOptions {
  /** An attestation by one of these keys suffices; without keys, nothing is checked. */
  readonly keys: readonly TrustedKey[];
  readonly repositories: readonly string[];
  readonly onProblem: (problem: Problem) => void;
  readonly signal: AbortSignal;
}

/** Returns the number of tags without an attestation, each of which is a problem. */
export async function checkAttestations(archive: Archive, options: AttestedOptions): Promise<number> {
  let problems = 0;
  if (options.keys.length === 0) return problems;
  for (const repository of options.repositories) {
    const index = (await archive.repairedIndex(repository, { signal: options.signal }))?.index;
    if (index === undefined) continue;
    for (const { tag, digest } of index.entries()) {
      if (tag === undefined || isReferrerTag(tag)) continue;
      const reason = await faultOf(archive, index, digest, options);
      if (reason === undefined) continue;
      problems += 1;
      options.onProblem({ repository, reference: `${repository}:${tag}`, root: digest, digest, reason, repair: {} });
    }
  }
  return problems;
}

async function faultOf(
  archive: Archive,
  index: TagIndex,
  digest: Digest,
  { keys, signal }: AttestedOptions,
): Promise<string | undefined> {
  const faults: string[] = [];
  for (const referrer of index.referrersOf(digest)) {
    if (referrer.artifactType !== ATTESTATION_TYPE) continue;
    const bundle = await bundleOf(archive, referrer.digest, signal);
    const fault = bundle === undefined ? 'it cannot be read' : attestationFault(bundle, digest, keys);
    if (fault === undefined) return undefined;
    faults.push(`; ${referrer.digest}: ${fault}`);
  }
  return `it has no attestation by ${keys.map(({ name }) => name).join(' or ')}${faults.slice(0, 3).join('')}`;
}

/** The bundle of a referrer; undefined if its content is missing or wrong, which verification reports. */
async function bundleOf(archive: Archive, referrer: Digest, signal: AbortSignal): Promise<Uint8Array | undefined> {
  try {
    const bytes = await archive.content(referrer, { maxBytes: MANIFEST_LIMITS.bytes, signal });
    const manifest = bytes === undefined ? undefined : parseManifest(bytes);
    const layer = manifest?.kind === 'image' ? manifest.layers[0] : undefined;
    if (layer === undefined) return undefined;
    return await archive.content(layer.digest, { maxBytes: SIGNATURE_LIMITS.bundleBytes, signal });
  } catch (error) {
    const failure = asFailure(error, `read ${referrer}`, 'archive');
    if (failure.remedy === 'never') return undefined;
    throw failure;
  }
}
