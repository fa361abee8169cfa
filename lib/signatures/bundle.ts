import { readJson } from '../core/json.ts';
import { Place } from '../oci/document.ts';
import { type Digest, digestOf, digestParts } from '../oci/digest.ts';
import { show } from '../oci/show.ts';
import { base64, type ParsedSignature, SIGNATURE_LIMITS, type SignedImage } from './signature.ts';

export const IN_TOTO_TYPE = 'application/vnd.in-toto+json';

const STATEMENT_TYPES: readonly string[] = ['https://in-toto.io/Statement/v1', 'https://in-toto.io/Statement/v0.1'];

/**
 * The statements that vouch for an image: cosign's signature, and provenance of a build. Others, such as the report of a
 * scanner, may say that an image is bad.
 */
const VOUCHING =
  /^https:\/\/(?:sigstore\.dev\/cosign\/sign\/v1|slsa\.dev\/provenance\/v\d+(?:\.\d+)?|in-toto\.io\/attestation\/release\/v\d+(?:\.\d+)?)$/;

/** The hashes of a message signature, as Sigstore's HashAlgorithm names them. */
const HASHES: ReadonlyMap<string, 'sha256' | 'sha512'> = new Map([
  ['SHA2_256', 'sha256'],
  ['SHA2_512', 'sha512'],
]);

/**
 * Reads a Sigstore bundle (versions 0.1 to 0.3), and checks that it signs this image.
 *
 * @returns the reason why it does not, as a clause
 * @throws {Failure} if it cannot be read
 */
export function parseBundle(bytes: Uint8Array, image: SignedImage): ParsedSignature | string {
  if (bytes.length > SIGNATURE_LIMITS.bundleBytes)
    return `expected a bundle of at most ${SIGNATURE_LIMITS.bundleBytes} bytes, got ${bytes.length}`;
  const bundle = readJson(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  const root = new Place('read bundle', '', bundle);
  const content = root.at('dsseEnvelope').given ? readEnvelope(root, image) : readMessage(root, image);
  if (typeof content === 'string') return content;
  return { ...content, ...readMaterial(root.at('verificationMaterial')), bundle };
}

type Content = Pick<ParsedSignature, 'signed' | 'signature' | 'artifact'>;

function readEnvelope(root: Place, { digest, predicates }: SignedImage): Content | string {
  if (root.at('messageSignature').given) return 'it has both an envelope and a message signature';
  const envelope = root.at('dsseEnvelope');
  const type = envelope.at('payloadType').text();
  if (type !== IN_TOTO_TYPE) return `its payload has the type ${show(type)}, expected ${IN_TOTO_TYPE}`;
  const payload = base64(envelope.at('payload'), SIGNATURE_LIMITS.bundleBytes);
  const signatures = envelope.at('signatures').list(1);
  const [only] = signatures;
  if (only === undefined) return 'its envelope has no signature';
  const fault = statementFault(payload, digest, predicates);
  return fault ?? { signed: preAuthEncoding(type, payload), signature: base64(only.at('sig')) };
}

/** The bytes that an envelope's signature covers: DSSE's pre-authentication encoding (DSSE protocol 1.0). */
export function preAuthEncoding(payloadType: string, payload: Uint8Array): Buffer {
  const type = Buffer.from(payloadType);
  return Buffer.concat([Buffer.from(`DSSEv1 ${type.length} `), type, Buffer.from(` ${payload.length} `), payload]);
}

/** The reason why an in-toto statement does not sign `digest`, as a clause; `undefined` if it does. */
function statementFault(payload: Uint8Array, digest: Digest, accepted = VOUCHING): string | undefined {
  const { algorithm, hex } = digestParts(digest);
  const statement = Place.ofBytes('read statement', payload);
  const type = statement.at('_type').text();
  if (!STATEMENT_TYPES.includes(type)) return `it is not an in-toto statement (its type is ${show(type)})`;
  const subjects = statement.at('subject').list(SIGNATURE_LIMITS.subjects);
  const signed = subjects.map((subject) => subject.at('digest').entry(algorithm).optionalText());
  if (!signed.includes(hex)) return `it signs another digest (${show(signed[0] ?? 'none')})`;
  const predicate = statement.at('predicateType').text();
  return accepted.test(predicate) ? undefined : `its statement (${show(predicate)}) is not one that is accepted`;
}

/** A message signature covers the manifest itself. The library does not compare the stated digest with the artifact. */
function readMessage(root: Place, { digest, manifest }: SignedImage): Content | string {
  const message = root.at('messageSignature');
  if (!message.given) return 'its bundle has neither an envelope nor a message signature';
  const stated = message.at('messageDigest');
  const name = stated.at('algorithm').text();
  const algorithm = HASHES.get(name);
  if (algorithm === undefined) return `its digest algorithm ${show(name)} is not supported`;
  const hex = base64(stated.at('digest')).toString('hex');
  const { algorithm: wanted, hex: expected } = digestParts(digest);
  if (algorithm !== wanted || hex !== expected) return `it signs another digest (${show(`${algorithm}:${hex}`)})`;
  if (manifest === undefined || digestOf(manifest, algorithm) !== digest)
    return 'it signs the bytes of the manifest, which are not known';
  return { signed: manifest, artifact: manifest, signature: base64(message.at('signature')) };
}

function readMaterial(material: Place): Pick<ParsedSignature, 'certificate' | 'isTimed'> {
  const { items, proofHashes } = SIGNATURE_LIMITS;
  const entries = material.at('tlogEntries').optionalList(items) ?? [];
  for (const entry of entries)
    if (entry.at('inclusionProof').given) entry.at('inclusionProof').at('hashes').optionalList(proofHashes);
  const timestamps = material.at('timestampVerificationData');
  const authorities = timestamps.given ? (timestamps.at('rfc3161Timestamps').optionalList(items) ?? []) : [];
  for (const each of authorities) base64(each.at('signedTimestamp'));
  const isTimed = entries.length + authorities.length > 0;
  const certificate = certificateOf(material);
  return certificate === undefined ? { isTimed } : { isTimed, certificate };
}

function certificateOf(material: Place): Uint8Array | undefined {
  if (material.at('certificate').given) return base64(material.at('certificate').at('rawBytes'));
  const chain = material.at('x509CertificateChain');
  if (!chain.given) return undefined;
  const [leaf] = chain.at('certificates').list(SIGNATURE_LIMITS.items);
  if (leaf === undefined) throw chain.fail('has no certificate');
  return base64(leaf.at('rawBytes'));
}
