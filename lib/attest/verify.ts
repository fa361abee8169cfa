/** Checks attestations of this archive. Pure. */
import { parseBundle } from '../signatures/bundle.ts';
import { orFault } from '../signatures/signature.ts';
import { isSignedBy, type TrustedKey } from '../signatures/public-key.ts';
import type { Digest } from '../oci/digest.ts';
import { PREDICATE_TYPE } from './statement.ts';

const PREDICATES = new RegExp(`^${PREDICATE_TYPE.replaceAll('.', '\\.')}$`);

/** The reason why a bundle is not an attestation of this image by one of these keys, as a clause; `undefined` if it is. */
export function attestationFault(bundle: Uint8Array, digest: Digest, keys: readonly TrustedKey[]): string | undefined {
  return orFault(() => {
    const parsed = parseBundle(bundle, { digest, predicates: PREDICATES });
    if (typeof parsed === 'string') return parsed;
    if (keys.some((key) => isSignedBy(key, parsed.signed, parsed.signature))) return undefined;
    return `it is by a key that is not trusted (expected ${keys.map(({ name }) => name).join(' or ')})`;
  });
}
