/** Verifies the signatures of an image before anything below its manifest is fetched. */
import type { Digest } from '../../oci/digest.ts';
import type { FetchedManifest, Referrers } from '../../registry/source.ts';
import type { Signer } from '../../policy/policy.ts';
import type { FoundSignature } from '../../signatures/signature.ts';
import { type Verification, verifySignatures } from '../../signatures/verify.ts';
import { type FetchedSignatures, type FetchOptions, fetchSignatures, manifestBytes } from './fetch-signatures.ts';

export interface ImageToVerify {
  readonly digest: Digest;
  /** The manifest, if it was fetched already. */
  readonly fetched?: FetchedManifest | undefined;
  readonly referrers: Referrers;
}

/** Without a trusted root, signatures by certificates are neither accepted nor refused. */
type Result = Verification & { readonly lacksRoot?: true };

export interface VerifyOptions extends FetchOptions {
  readonly signers: readonly Signer[];
  readonly trustedRoot: Uint8Array | undefined;
}

/**
 * Fetches the signatures of an image and verifies them. The signatures of a verified image are stored as content, so that its
 * referrers are not fetched twice.
 *
 * @throws Failure for a temporary problem, and for a trusted root or a signer that cannot be read
 */
export async function verifyImage(image: ImageToVerify, options: VerifyOptions): Promise<Result> {
  const { archive, signal, signers, trustedRoot } = options;
  const signatures = await fetchSignatures(image.referrers, options);
  const { digest, fetched } = image;
  const { found } = signatures;
  const manifest = found.some(isOfManifest) ? await manifestBytes(digest, fetched, options) : undefined;
  const signed = manifest === undefined ? { digest } : { digest, manifest };
  const result = await verifySignatures({ ...signed, found, signers, trustedRoot });
  if ('refused' in result) {
    const lacksRoot = trustedRoot === undefined && found.length > 0 && signers.some((each) => 'identity' in each);
    const refusal = withFaults(result.refused, signatures, image.referrers);
    return lacksRoot ? { ...refusal, lacksRoot } : refusal;
  }
  for (const [of, bytes] of signatures.content) await archive.putContent(of, bytes, { signal });
  return result;
}

/** Whether a bundle signs the bytes of the manifest instead of a statement; a false positive costs one request. */
function isOfManifest(found: FoundSignature): boolean {
  return found.kind === 'bundle' && Buffer.from(found.bytes).includes('"messageSignature"');
}

/** Signatures that cannot be read, and lists of them, may be the reason why none verifies. */
function withFaults(refused: string, { faults }: FetchedSignatures, { notes }: Referrers): Verification {
  return { refused: [refused, ...faults.slice(0, 1), ...notes.slice(0, 1)].join('; ') };
}
