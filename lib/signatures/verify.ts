import { X509Certificate } from 'node:crypto';
import { defined } from '../core/defined.ts';
import { matchesGlob, parseIdentityGlob } from '../oci/glob.ts';
import { quote, show } from '../oci/show.ts';
import type { Signer } from '../policy/policy.ts';
import { parseBundle } from './bundle.ts';
import { isSignedBy, parsePublicKey, type TrustedKey } from './public-key.ts';
import { parseSimpleSigning } from './simple-signing.ts';
import { type FoundSignature, orFault, type ParsedSignature, SIGNATURE_LIMITS, type SignedImage } from './signature.ts';
import { libraryWith } from './trusted-root.ts';

/** The signer that a policy accepts, and the time in milliseconds that a log or a timestamp authority proves. */
interface Verified {
  readonly by: string;
  readonly at?: number;
}

/** `refused` is a sentence without its full stop: the signature, the identity found and the identity wanted. */
export type Verification = { readonly verified: Verified } | { readonly refused: string };

export interface SignatureCheck<S extends FoundSignature = FoundSignature> extends SignedImage {
  /** They are checked one after another, so that a source may fetch each one only then. */
  readonly found: Iterable<S> | AsyncIterable<S>;
  /** The manifest of the image for this signature, so that it is in memory for the check only. */
  readonly manifestFor?: (found: S) => Promise<Uint8Array | undefined>;
  /** Called for each signature by one of the signers. */
  readonly onAccepted?: (found: S) => Promise<void>;
  /** One of them suffices. */
  readonly signers: readonly Signer[];
  /** The bytes of Sigstore's trusted root; signatures by certificates need it. */
  readonly trustedRoot?: Uint8Array | undefined;
}

/** Signatures and signers that a refusal lists. */
const MAX_LISTED = 3;

interface Wanted {
  readonly keys: readonly TrustedKey[];
  readonly identities: readonly { readonly identity: string; readonly issuer: string }[];
  readonly text: string;
}

/**
 * Whether one of these signers has signed this image, according to the found signatures. If several match, the earliest
 * proven time counts, so that a later signature does not make an image younger.
 *
 * @throws {Failure} `invalid` if a signer or the trusted root cannot be parsed
 */
export async function verifySignatures<S extends FoundSignature>(check: SignatureCheck<S>): Promise<Verification> {
  const wanted = wantedOf(check.signers);
  const refusals: string[] = [];
  const accepted: Verified[] = [];
  let checked = 0;
  for await (const found of check.found) {
    if (checked === SIGNATURE_LIMITS.signatures) break;
    checked += 1;
    const manifest = (await check.manifestFor?.(found)) ?? check.manifest;
    const result = await checkOne(found, defined({ ...check, manifest }), wanted);
    if (typeof result === 'string') {
      refusals.push(`signature ${show(found.name)}: ${result}`);
      continue;
    }
    accepted.push(result);
    await check.onAccepted?.(found);
  }
  const [first] = accepted.sort((a, b) => (a.at ?? Infinity) - (b.at ?? Infinity));
  if (first !== undefined) return { verified: first };
  if (refusals.length === 0) return { refused: `no signature was found (expected one by ${wanted.text})` };
  return { refused: listed(refusals, '; ', refusals.length) };
}

function wantedOf(signers: readonly Signer[]): Wanted {
  const keys = signers.flatMap((signer) => ('key' in signer ? [parsePublicKey(signer.key)] : []));
  const identities = signers.flatMap((signer) => ('key' in signer ? [] : [signer]));
  const names = [...keys.map(({ name }) => name), ...identities.map(({ identity, issuer }) => named(identity, issuer))];
  return { keys, identities, text: listed(names, ' or ', names.length) };
}

function listed(texts: readonly string[], separator: string, of: number): string {
  const shown = texts.slice(0, MAX_LISTED);
  return shown.join(separator) + (of > shown.length ? `${separator}${of - shown.length} more` : '');
}

function named(identity: string | undefined, issuer: string | undefined): string {
  return `${show(identity ?? 'no identity')} (issuer ${show(issuer ?? 'none')})`;
}

/** @returns the reason why this signature does not count, as a clause */
async function checkOne(
  found: FoundSignature,
  image: SignedImage & Pick<SignatureCheck, 'trustedRoot'>,
  { keys, identities, text }: Wanted,
): Promise<Verified | string> {
  const parsed = orFault(() =>
    found.kind === 'bundle'
      ? parseBundle(found.bytes, image)
      : parseSimpleSigning(found.payload, found.annotations, image),
  );
  if (typeof parsed === 'string') return parsed;
  const { signed, signature, certificate } = parsed;
  const key = keys.find((each) => isSignedBy(each, signed, signature));
  if (key !== undefined) return { by: key.name, ...(await timeOf(parsed, key, image.trustedRoot)) };
  if (certificate === undefined) return `it is by a key that is not trusted (expected ${text})`;
  if (identities.length === 0) return `it is by the certificate of ${claimedBy(certificate)} (expected ${text})`;
  if (image.trustedRoot === undefined)
    return `it is by the certificate of ${claimedBy(certificate)}, and no trusted root is given; set trustedRoot in mirror.yaml, or add --trusted-root FILE`;
  return checkCertified(parsed, certificate, image.trustedRoot, { identities, text });
}

async function checkCertified(
  parsed: ParsedSignature,
  certificate: Uint8Array,
  trustedRoot: Uint8Array,
  { identities, text }: Pick<Wanted, 'identities' | 'text'>,
): Promise<Verified | string> {
  const { verifyCertified } = await libraryWith(trustedRoot);
  let signed;
  try {
    signed = verifyCertified(parsed, trustedRoot);
  } catch (thrown) {
    return `it claims to be by ${claimedBy(certificate)}, and does not verify: ${reasonOf(thrown)} (expected ${text})`;
  }
  const { identity, issuer, at } = signed;
  const isWanted =
    identity !== undefined &&
    issuer !== undefined &&
    identities.some((each) => isMatch(each.identity, identity) && isMatch(each.issuer, issuer));
  return isWanted ? { by: named(identity, issuer), at } : `it is by ${named(identity, issuer)}, expected ${text}`;
}

function isMatch(pattern: string, text: string): boolean {
  return matchesGlob(parseIdentityGlob(pattern), text);
}

/** The key itself is trusted, so a log entry is not required; a time counts only if it is proven. */
async function timeOf(
  parsed: ParsedSignature,
  { key }: TrustedKey,
  trustedRoot: Uint8Array | undefined,
): Promise<{ readonly at?: number }> {
  if (trustedRoot === undefined || !parsed.isTimed) return {};
  const { verifyTime } = await libraryWith(trustedRoot);
  try {
    return { at: verifyTime(parsed, key, trustedRoot) };
  } catch {
    return {};
  }
}

/** The name in a certificate that is not verified yet. */
function claimedBy(certificate: Uint8Array): string {
  try {
    return show(new X509Certificate(certificate).subjectAltName?.replace(/^(?:URI|email):/, '') ?? 'no identity');
  } catch {
    return 'an unreadable certificate';
  }
}

/** The library's message, with that of its cause. */
function reasonOf(thrown: unknown): string {
  if (!(thrown instanceof Error)) return 'it is malformed';
  const { message, cause } = thrown;
  return quote(cause instanceof Error ? `${message} (${cause.message})` : message);
}
