/** The keys that sign attestations. */
import { createPrivateKey, createPublicKey, type KeyObject, sign } from 'node:crypto';
import { invalid } from '../core/failure.ts';
import { keyIdOf, parsePublicKey } from '../signatures/public-key.ts';

export interface AttestationKey {
  /** The result of `keyIdOf` for its public key. */
  readonly id: string;
  readonly sign: (data: Uint8Array) => Promise<Uint8Array>;
}

/**
 * A private key in PEM (PKCS#8, or the older forms of OpenSSL), without a passphrase.
 *
 * @throws {Failure} `invalid`, without any part of the key
 */
export function parseAttestationKey(pem: string): AttestationKey {
  const operation = 'read attestation key';
  let key: KeyObject;
  try {
    key = createPrivateKey(pem);
  } catch {
    // The parser's message may quote the key.
    throw invalid(operation, 'it is not a private key in PEM without a passphrase; openssl genpkey makes one');
  }
  const publicKey = createPublicKey(key);
  parsePublicKey(publicKey.export({ format: 'pem', type: 'spki' }).toString());
  const hash = key.asymmetricKeyType === 'ed25519' ? null : 'sha256';
  return { id: keyIdOf(publicKey), sign: (data) => Promise.resolve(sign(hash, data, key)) };
}
