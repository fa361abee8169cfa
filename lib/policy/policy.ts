/** The policy of a repository, and its form in the archive. Pure. */
import { defined } from '../core/defined.ts';
import { parseIdentityGlob } from '../oci/glob.ts';
import type { Place } from '../oci/document.ts';

/** A signer that a policy accepts: a public key (PEM), or an identity with its issuer, each exact or a pattern. */
export type Signer = { readonly key: string } | { readonly identity: string; readonly issuer: string };

export interface Policy {
  readonly referrers: 'all' | 'none' | readonly string[];
  readonly verify: 'require' | 'warn' | 'off';
  /** One of them suffices. */
  readonly signers: readonly Signer[];
  /** The minimum age of a digest in milliseconds; 0 without one. */
  readonly minimumAgeMs: number;
  /** Digests that are first observed before the first completed run have no minimum age. */
  readonly initial?: 'accept';
  readonly moved: 'follow' | 'keep' | 'fail';
  readonly attest: 'off' | 'on' | 'require';
}

/** The policy of a repository without a configured policy. */
export const NO_POLICY: Policy = {
  referrers: 'all',
  verify: 'off',
  signers: [],
  minimumAgeMs: 0,
  moved: 'follow',
  attest: 'off',
};

export const POLICY_CHOICES = {
  referrers: ['all', 'none'],
  verify: ['require', 'warn', 'off'],
  initial: ['accept'],
  moved: ['follow', 'keep', 'fail'],
  attest: ['off', 'on', 'require'],
} as const;

/** The limits of a policy, far above the needs of a real one. */
export const POLICY_LIMITS = { signers: 16, artifactTypes: 100, keyLength: 10_000 } as const;

/** The settings with which a policy can hide images of upstream, at least for some time; empty if it has none. */
export function withholdingSettings({ minimumAgeMs, verify, moved }: Policy): string {
  return [
    ...(minimumAgeMs > 0 ? ['minimumAge'] : []),
    ...(verify === 'require' ? ['verify: require'] : []),
    ...(moved === 'follow' ? [] : [`moved: ${moved}`]),
  ].join(', ');
}

/** 100 years, in milliseconds: `Date` holds the end of any such period. */
const LONGEST_MS = 100 * 366 * 24 * 3_600_000;

/** The JSON form of a policy; equal policies have equal texts. */
export function serialisePolicy(policy: Policy): Readonly<Record<string, unknown>> {
  const { referrers, verify, signers, minimumAgeMs, initial, moved, attest } = policy;
  return defined({ referrers, verify, signers, minimumAgeMs, initial, moved, attest });
}

export function isSamePolicy(a: Policy, b: Policy): boolean {
  return JSON.stringify(serialisePolicy(a)) === JSON.stringify(serialisePolicy(b));
}

/**
 * Reads the form of `serialisePolicy`.
 *
 * @param isNewer a newer release wrote it: unknown keys are ignored
 * @throws Failure that names the place
 */
export function parsePolicy(place: Place, isNewer = false): Policy {
  const known = new Set(['referrers', 'verify', 'signers', 'minimumAgeMs', 'initial', 'moved', 'attest']);
  const unknown = Object.keys(place.object()).find((key) => !known.has(key));
  if (unknown !== undefined && !isNewer) throw place.at(unknown).fail('is not a part of a policy');
  const minimumAge = place.at('minimumAgeMs');
  if (minimumAge.size() > LONGEST_MS) throw minimumAge.fail('must be less than 100 years');
  const policy = defined({
    referrers: readReferrers(place.at('referrers')),
    verify: oneOf(place.at('verify'), POLICY_CHOICES.verify),
    signers: place.at('signers').list(POLICY_LIMITS.signers).map(readSigner),
    minimumAgeMs: minimumAge.size(),
    initial: place.at('initial').optional((choice) => oneOf(choice, POLICY_CHOICES.initial)),
    moved: oneOf(place.at('moved'), POLICY_CHOICES.moved),
    attest: oneOf(place.at('attest'), POLICY_CHOICES.attest),
  });
  if (policy.verify !== 'off' && policy.signers.length === 0)
    throw place.at('signers').fail('must not be empty unless verify is off');
  return policy;
}

function readReferrers(place: Place): Policy['referrers'] {
  if (!place.isList) return oneOf(place, POLICY_CHOICES.referrers);
  return place.list(POLICY_LIMITS.artifactTypes).map((each) => each.mediaType());
}

function readSigner(place: Place): Signer {
  if (place.at('key').given) {
    const key = place.at('key').text();
    if (key.length > POLICY_LIMITS.keyLength) throw place.at('key').fail('is too long for a public key');
    return { key };
  }
  const [identity, issuer] = [place.at('identity').text(), place.at('issuer').text()];
  parseIdentityGlob(identity);
  parseIdentityGlob(issuer);
  return { identity, issuer };
}

function oneOf<const T extends string>(place: Place, choices: readonly T[]): T {
  const choice = choices.find((each) => place.is(each));
  if (choice === undefined) throw place.fail(`must be one of ${choices.join(', ')}`);
  return choice;
}
