/**
 * The refusals of images that a policy withholds (docs/trust.md). A refused request orders nothing, because only a sync
 * makes an image visible.
 */
import { heldDigest, heldFor, rejectionsIn } from '../archive/tag-index/withheld.ts';
import type { Digest } from '../oci/digest.ts';
import { RegistryError } from './errors.ts';
import type { Repository } from './repositories.ts';

export class Withheld extends RegistryError {}

/** The refusal of a tag that is not visible; undefined for a tag that the repository does not know. */
export function withheldTag({ name, index }: Repository, tag: string): RegistryError | undefined {
  const held = heldFor(index, tag);
  if (held !== undefined) return heldUntil(`${name}:${tag}`, held.until);
  const { unverified } = index.control;
  const doubt = unverified.find((each) => each.tag === tag);
  if (doubt !== undefined) return unknown(`the signature of ${name}:${tag} is not verified: ${doubt.reason}`);
  const isRejected = rejectionsIn(index).some((each) => each.tag === tag);
  return isRejected ? unknown(`${name}:${tag} was rejected`) : undefined;
}

/** The refusal of a digest that no visible image has; undefined for a digest that the repository does not know. */
export function withheldDigest({ name, index }: Repository, digest: Digest): RegistryError | undefined {
  const held = heldDigest(index, digest);
  if (held !== undefined) return heldUntil(`${name}@${digest}`, held.until);
  const { unverified } = index.control;
  const doubt = unverified.find((each) => each.digest === digest);
  if (doubt !== undefined) return unknown(`the signature of ${name}@${digest} is not verified: ${doubt.reason}`);
  const isRejected = rejectionsIn(index).some((each) => each.digest === digest);
  return isRejected ? unknown(`${name}@${digest} was rejected`) : undefined;
}

function heldUntil(reference: string, until: number): RegistryError {
  return new Withheld(403, 'DENIED', `${reference} is held until ${new Date(until).toISOString()} (minimum age)`);
}

function unknown(message: string): RegistryError {
  return new Withheld(404, 'MANIFEST_UNKNOWN', message);
}
