/** Verifies the signatures of an image before anything below its manifest is fetched. */
import type { Digest } from '../../oci/digest.ts';
import type { FetchedManifest, Referrers } from '../../registry/source.ts';
import type { Signer } from '../../policy/policy.ts';
import type { FoundSignature } from '../../signatures/signature.ts';
import { type Verification, verifySignatures } from '../../signatures/verify.ts';
import { type FetchOptions, fetchSignatures, manifestBytes } from './fetch-signatures.ts';

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
 * Fetches the signatures of an image and verifies them. A signature by one of the signers is stored as content, so that it is not
 * fetched twice.
 *
 * @throws Failure for a temporary problem, and for a trusted root or a signer that cannot be read
 */
export async function verifyImage(image: ImageToVerify, options: VerifyOptions): Promise<Result> {
  const { archive, signal, signers, trustedRoot } = options;
  const { digest, fetched, referrers } = image;
  const faults: string[] = [];
  let signatures = 0;
  const result = await verifySignatures({
    digest,
    found: fetchSignatures(referrers, options, (clause) => faults.push(clause)),
    signers,
    trustedRoot,
    async manifestFor(found) {
      signatures += 1;
      return isOfManifest(found) ? manifestBytes(digest, fetched, options) : undefined;
    },
    async onAccepted({ content }) {
      for (const [of, bytes] of content) await archive.putContent(of, bytes, { signal });
    },
  });
  if (!('refused' in result)) return result;
  const lacksRoot = trustedRoot === undefined && signatures > 0 && signers.some((each) => 'identity' in each);
  const refusal = withFaults(result.refused, faults, referrers);
  return lacksRoot ? { ...refusal, lacksRoot } : refusal;
}

/** Whether a bundle signs the bytes of the manifest instead of a statement; a false positive costs one request. */
function isOfManifest(found: FoundSignature): boolean {
  return found.kind === 'bundle' && Buffer.from(found.bytes).includes('"messageSignature"');
}

/** Signatures that cannot be read, and lists of them, may be the reason why none verifies. */
function withFaults(refused: string, faults: readonly string[], { notes }: Referrers): Verification {
  return { refused: [refused, ...faults.slice(0, 1), ...notes.slice(0, 1)].join('; ') };
}
