import { createHash, createPublicKey, type KeyObject, verify } from 'node:crypto';
import { invalid } from '../core/failure.ts';

export interface TrustedKey {
  /** `key sha256:…`, with the key's id. */
  readonly name: string;
  readonly key: KeyObject;
}

/** Curves of ECDSA keys that cosign and Sigstore use. */
const CURVES: readonly string[] = ['prime256v1', 'secp384r1'];

/** cosign signs with SHA-256 unless another hash is chosen; Sigstore's clients choose the hash by the size of the key. */
const HASHES = ['sha256', 'sha384', 'sha512'] as const;

/** The minimum number of bits of an RSA key (NIST SP 800-131A). */
const MIN_RSA_BITS = 2048;

/**
 * The public key of a signer.
 *
 * @throws {Failure} `invalid` for a text that is not a key of ECDSA (P-256, P-384), RSA or Ed25519
 */
export function parsePublicKey(pem: string): TrustedKey {
  const operation = 'read public key';
  if (!/^-----BEGIN (?:RSA )?PUBLIC KEY-----\r?\n/.test(pem.trimStart()))
    throw invalid(operation, 'it is not a public key in PEM (-----BEGIN PUBLIC KEY-----)');
  let key: KeyObject;
  try {
    key = createPublicKey(pem);
  } catch (thrown) {
    throw invalid(operation, `it cannot be parsed (${(thrown as Error).message})`);
  }
  const { namedCurve, modulusLength } = key.asymmetricKeyDetails ?? {};
  switch (key.asymmetricKeyType) {
    case 'ec':
      if (namedCurve !== undefined && CURVES.includes(namedCurve)) break;
      throw invalid(operation, `the curve ${namedCurve ?? 'of its key'} is not supported; use P-256 or P-384`);
    case 'rsa':
      if (modulusLength !== undefined && modulusLength >= MIN_RSA_BITS) break;
      throw invalid(
        operation,
        `an RSA key needs at least ${MIN_RSA_BITS} bits, and this one has ${modulusLength ?? 0}`,
      );
    case 'ed25519':
      break;
    default:
      throw invalid(
        operation,
        `keys of the type ${key.asymmetricKeyType ?? 'unknown'} are not supported; use ECDSA, RSA or Ed25519`,
      );
  }
  return { name: `key sha256:${keyIdOf(key)}`, key };
}

/** The SHA-256 of a public key's DER in hex, as `openssl pkey -pubin -outform DER | sha256sum` prints it. */
export function keyIdOf(publicKey: KeyObject): string {
  const der = publicKey.export({ format: 'der', type: 'spki' });
  return createHash('sha256').update(der).digest('hex');
}

/** Whether `signature` is a signature of `data` by this key. */
export function isSignedBy({ key }: TrustedKey, data: Uint8Array, signature: Uint8Array): boolean {
  const hashes = key.asymmetricKeyType === 'ed25519' ? [null] : HASHES;
  return hashes.some((hash) => verify(hash, data, key, signature));
}
