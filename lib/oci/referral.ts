import type { Digest } from './digest.ts';
import type { Manifest } from './manifest.ts';

/** The manifest that a manifest refers to, and its artifact type; empty for a manifest without a subject. */
export interface Referral {
  readonly subject?: Digest;
  readonly artifactType?: string;
}

/**
 * The subject and the artifact type of a manifest (OCI distribution spec 1.1, "Listing Referrers": the type of an image
 * manifest without an artifact type is that of its config).
 */
export function referralOf(manifest: Manifest): Referral {
  if (manifest.kind === 'schema1' || manifest.subject === undefined) return {};
  const { subject, artifactType } = manifest;
  const type = artifactType ?? (manifest.kind === 'image' ? manifest.config.mediaType : undefined);
  return { subject: subject.digest, ...(type === undefined ? {} : { artifactType: type }) };
}
