/** The settings of a policy, and how they merge with `defaults`. */
import * as z from 'zod/mini';
import { invalid } from '../core/failure.ts';
import { parseIdentityGlob } from '../oci/glob.ts';
import { NO_POLICY, type Policy, POLICY_CHOICES, POLICY_LIMITS } from '../policy/policy.ts';
import { parsePublicKey } from '../signatures/public-key.ts';
import { described, duration, hiddenText, list, mapping, setting, text } from './fields.ts';

const artifactType = text('an artifact type, such as application/spdx+json', parseArtifactType, { maxLength: 255 });

const identity = text('an identity, or a pattern', (glob) => (parseIdentityGlob(glob), glob), { maxLength: 1_024 });

const signer = z.union(
  [
    mapping({ key: described(hiddenText('a public key in PEM', parseKey), 'A public key in PEM.') }),
    mapping({
      identity: described(identity, 'The identity of the certificate, such as the URL of a workflow, or a pattern.'),
      issuer: described(identity, 'The issuer of the identity, or a pattern.'),
    }),
  ],
  'a signer: key, or identity and issuer',
);

export const policy = mapping({
  referrers: setting(
    z.union(
      [
        z.enum(POLICY_CHOICES.referrers),
        list('artifact types', artifactType, { min: 1, max: POLICY_LIMITS.artifactTypes }),
      ],
      'all, none, or a list of artifact types',
    ),
    'Signatures, SBOMs and other referrers of an image: all, none, or those of these artifact types. Default: all.',
  ),
  verify: setting(
    z.enum(POLICY_CHOICES.verify, 'require, warn, or off'),
    'require mirrors only images that a signer has signed; warn adds a note to the others. Default: off.',
  ),
  signers: setting(
    list('signers', signer, { min: 1, max: POLICY_LIMITS.signers }),
    'The accepted signers, of which one suffices. Required unless verify is off.',
  ),
  minimumAge: setting(
    duration(),
    'The time between the first observation of a digest under a tag and its release, such as 7d. Default: none.',
  ),
  initial: setting(
    z.enum(POLICY_CHOICES.initial, 'accept'),
    'accept: digests that are first observed before the end of the first completed run have no minimum age. Default: they have one.',
  ),
  moved: setting(
    z.enum(POLICY_CHOICES.moved, 'follow, keep, or fail'),
    'A tag that has moved upstream: follow moves it, keep and fail leave it unchanged; fail counts as a failure. Default: follow.',
  ),
  attest: setting(
    z.enum(POLICY_CHOICES.attest, 'off, on, or require'),
    'Attestations by the archive: on, or require if a missing key is a failure. Default: off.',
  ),
});

/** A file in the folder of the configuration. */
export const trustedRoot = text('the name of a file beside this one, such as trusted_root.json', parseFileName, {
  pattern: '^\\w[\\w.-]{0,254}$',
});

type RawPolicy = z.output<typeof policy>;

/**
 * The policy of a mirror; each key of the mirror replaces the one of the defaults. Undefined if neither has a setting.
 */
export function policyOf(own: RawPolicy | undefined, common: RawPolicy | undefined): Policy | undefined {
  if (own === undefined && common === undefined) return undefined;
  const { minimumAge = 0, ...others } = { ...common, ...own };
  return { ...NO_POLICY, ...others, minimumAgeMs: minimumAge };
}

function parseArtifactType(name: string): string {
  if (/^[A-Za-z0-9][\w!#$&^.+-]{0,126}\/[A-Za-z0-9][\w!#$&^.+-]{0,126}$/.test(name)) return name;
  throw invalid('parse artifact type', 'not a media type');
}

function parseKey(pem: string): string {
  if (pem.length > POLICY_LIMITS.keyLength) throw invalid('parse key', 'too long for a public key');
  parsePublicKey(pem);
  return pem;
}

function parseFileName(name: string): string {
  if (/^\w[\w.-]{0,254}$/.test(name)) return name;
  throw invalid('parse file name', 'not the name of a file in the same folder');
}
