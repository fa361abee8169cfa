/** The tags under which clients store referrers in a registry that has no referrers API. Pure. */
import { type Digest, digestParts, isDigest } from './digest.ts';

/**
 * cosign's tags: a signature, an attestation and an SBOM. Such a manifest has no subject; its tag names the subject.
 */
const COSIGN_SUFFIXES = ['sig', 'att', 'sbom'] as const;

/** The limit for a tag, in characters. */
const MAX_TAG = 128;

const REFERRER_TAG = /^(sha256|sha512)-([0-9a-f]{64,128})(?:\.(?:sig|att|sbom))?$/;

/** The tag of the index that lists the referrers of a digest (OCI distribution spec 1.1, "Referrers Tag Schema"). */
export function referrersTag(digest: Digest): string {
  const { algorithm, hex } = digestParts(digest);
  return `${algorithm}-${hex.slice(0, 64)}`;
}

/** A tag of cosign, with the artifact type of its content (cosign names it so where a registry has the API). */
export interface CosignTag {
  readonly tag: string;
  readonly artifactType: string;
}

/** The tags that cosign may have written for a digest. */
export function cosignTags(digest: Digest): readonly CosignTag[] {
  const { algorithm, hex } = digestParts(digest);
  return COSIGN_SUFFIXES.map((suffix) => ({
    tag: `${algorithm}-${hex}.${suffix}`,
    artifactType: `application/vnd.dev.cosign.artifact.${suffix}.v1+json`,
  })).filter(({ tag }) => tag.length <= MAX_TAG);
}

/** The digest whose referrers a tag names; undefined for any other tag, and for one with a shortened digest. */
export function subjectOfTag(tag: string): Digest | undefined {
  const [, algorithm, hex] = REFERRER_TAG.exec(tag) ?? [];
  const digest = `${String(algorithm)}:${String(hex)}`;
  return isDigest(digest) ? digest : undefined;
}

/** The digest that a tag of cosign names; undefined for any other tag. */
export function subjectOfCosignTag(tag: string): Digest | undefined {
  return tag.includes('.') ? subjectOfTag(tag) : undefined;
}

/** Whether a tag has the form of the index that lists referrers. */
export function isReferrersTag(tag: string): boolean {
  return isReferrerTag(tag) && !tag.includes('.');
}

/** Whether a tag has the form of a referrer's tag. */
export function isReferrerTag(tag: string): boolean {
  return REFERRER_TAG.test(tag);
}
