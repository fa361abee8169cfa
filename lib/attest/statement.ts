/** The statement of an archive about an image (in-toto Statement v1), in the form that is signed. Pure. */
import { type Digest, digestParts } from '../oci/digest.ts';
import { formatPlatform, type Platform } from '../oci/platform.ts';

/** The type of the predicate; `docs/attestation.schema.json` is its schema. */
export const PREDICATE_TYPE = 'https://mirror-sync.dev/mirrored/v1';

export interface Mirrored {
  /** The repository in the archive. */
  readonly repository: string;
  /** The upstream repository: `docker.io/library/alpine`. */
  readonly source: string;
  readonly digest: Digest;
  /** The time at which upstream had this digest, and the time of the statement, in milliseconds since the epoch. */
  readonly observed: number;
  readonly attested: number;
  readonly platforms: 'all' | readonly Platform[];
  readonly content: ProvenContent;
  /** The policy that the image passed. */
  readonly policy: PassedPolicy;
  /** The signer that was verified, with the time that a transparency log proves. */
  readonly verified?: { readonly by: string; readonly at?: number } | undefined;
}

interface PassedPolicy {
  readonly verify: 'require' | 'warn' | 'off';
  /** Milliseconds; 0 for none. */
  readonly minimumAgeMs: number;
  readonly moved: 'follow' | 'keep' | 'fail';
}

export interface ProvenContent {
  readonly manifests: readonly { readonly digest: Digest; readonly mediaType: string; readonly size: number }[];
  readonly blobs: readonly ProvenBlob[];
}

export interface ProvenBlob {
  readonly digest: Digest;
  readonly mediaType: string;
  readonly size: number;
  /** The digest of a layer's unpacked content, which its image's config claims. */
  readonly diffId?: Digest;
}

/** @param version the release that states it */
export function statementOf(image: Mirrored, version: string): object {
  const { algorithm, hex } = digestParts(image.digest);
  const { repository, source, digest, platforms, content, policy, verified } = image;
  return {
    _type: 'https://in-toto.io/Statement/v1',
    subject: [{ name: repository, digest: { [algorithm]: hex } }],
    predicateType: PREDICATE_TYPE,
    predicate: {
      source: { repository: source, digest, observed: new Date(image.observed).toISOString() },
      archive: { repository, attested: new Date(image.attested).toISOString(), by: { name: 'mirror-sync', version } },
      proven: { platforms: platforms === 'all' ? platforms : platforms.map(formatPlatform), ...content },
      policy: {
        verify: policy.verify,
        minimumAgeSeconds: policy.minimumAgeMs / 1000,
        moved: policy.moved,
        ...(verified === undefined ? {} : { signedBy: verified.by }),
        ...(verified?.at === undefined ? {} : { signedAt: new Date(verified.at).toISOString() }),
      },
    },
  };
}
