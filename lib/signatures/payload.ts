import { asFailure } from '../core/failure.ts';
import { type Digest, digestParts } from '../oci/digest.ts';
import { Place } from '../oci/document.ts';
import { show } from '../oci/show.ts';
import { SIGNATURE_LIMITS } from './signature.ts';

/** The type of a simple-signing payload (cosign, "Signature Specification"). */
const SIMPLE_SIGNING_TYPE = 'cosign container image signature';

export const IN_TOTO_TYPE = 'application/vnd.in-toto+json';

const STATEMENT_TYPES: readonly string[] = ['https://in-toto.io/Statement/v1', 'https://in-toto.io/Statement/v0.1'];

/**
 * The statements that vouch for an image: cosign's signature, and provenance of a build. Others, such as the report of a
 * scanner, may say that an image is bad.
 */
const VOUCHING =
  /^https:\/\/(?:sigstore\.dev\/cosign\/sign\/v1|slsa\.dev\/provenance\/v\d+(?:\.\d+)?|in-toto\.io\/attestation\/release\/v\d+(?:\.\d+)?)$/;

/** The reason why a simple-signing payload does not sign `digest`, as a clause; `undefined` if it does. */
export function simpleSigningFault(payload: Uint8Array, digest: Digest): string | undefined {
  return faultOf(() => {
    const critical = Place.ofBytes('read payload', payload).at('critical');
    const type = critical.at('type').text();
    if (type !== SIMPLE_SIGNING_TYPE) return `it has the type ${show(type)}, expected ${show(SIMPLE_SIGNING_TYPE)}`;
    const signed = critical.at('image').at('docker-manifest-digest').text();
    return signed === digest ? undefined : `it signs another digest (${show(signed)})`;
  });
}

/** The reason why an in-toto statement does not sign `digest`, as a clause; `undefined` if it does. */
export function statementFault(payload: Uint8Array, digest: Digest, accepted = VOUCHING): string | undefined {
  const { algorithm, hex } = digestParts(digest);
  return faultOf(() => {
    const statement = Place.ofBytes('read statement', payload);
    const type = statement.at('_type').text();
    if (!STATEMENT_TYPES.includes(type)) return `it is not an in-toto statement (its type is ${show(type)})`;
    const subjects = statement.at('subject').list(SIGNATURE_LIMITS.subjects);
    const signed = subjects.map((subject) => subject.at('digest').entry(algorithm).optionalText());
    if (!signed.includes(hex)) return `it signs another digest (${show(signed[0] ?? 'none')})`;
    const predicate = statement.at('predicateType').text();
    return accepted.test(predicate) ? undefined : `its statement (${show(predicate)}) is not one that is accepted`;
  });
}

/** Describes a document that cannot be parsed, as a clause. */
export function faultOf(check: () => string | undefined): string | undefined {
  try {
    return check();
  } catch (thrown) {
    return `it cannot be read (${asFailure(thrown, 'read signature', 'source').detail})`;
  }
}
