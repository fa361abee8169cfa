/** The signed form of a statement: a DSSE envelope in a Sigstore bundle, as a referrer of its image, and its check. Pure. */
import type { Descriptor } from '../oci/descriptor.ts';
import { type Digest, digestOf } from '../oci/digest.ts';
import { Place } from '../oci/document.ts';
import { MEDIA_TYPES } from '../oci/mediatype.ts';
import { IN_TOTO_TYPE, parseBundle, preAuthEncoding } from '../signatures/bundle.ts';
import { isSignedBy, type TrustedKey } from '../signatures/public-key.ts';
import { orFault } from '../signatures/signature.ts';
import type { AttestationKey } from './key.ts';
import { PREDICATE_TYPE } from './statement.ts';

/** The artifact type of an attestation; other Sigstore bundles have the same type. */
export const ATTESTATION_TYPE = 'application/vnd.dev.sigstore.bundle.v0.3+json';
const EMPTY = Buffer.from('{}');
const EMPTY_TYPE = 'application/vnd.oci.empty.v1+json';

type Subject = Pick<Descriptor, 'mediaType' | 'digest' | 'size'>;

interface Content extends Subject {
  readonly bytes: Uint8Array;
}

export interface StoredAttestation {
  readonly manifest: Content;
  readonly blobs: readonly Content[];
  readonly artifactType: string;
  /** The time of the statement, in milliseconds since the epoch. */
  readonly attested: number;
}

/** Signs a statement. Each ECDSA signature of the same bytes is different. */
export async function signStatement(statement: object, key: AttestationKey): Promise<Uint8Array> {
  const payload = Buffer.from(JSON.stringify(statement));
  const signature = await key.sign(preAuthEncoding(IN_TOTO_TYPE, payload));
  const bundle = {
    mediaType: ATTESTATION_TYPE,
    verificationMaterial: { publicKey: { hint: Buffer.from(key.id, 'hex').toString('base64') } },
    dsseEnvelope: {
      payload: payload.toString('base64'),
      payloadType: IN_TOTO_TYPE,
      signatures: [{ sig: Buffer.from(signature).toString('base64') }],
    },
  };
  return Buffer.from(JSON.stringify(bundle));
}

/** The referrer that contains a bundle; the same bundle gives the same manifest. */
export function attestationOf(bundle: Uint8Array, subject: Subject): StoredAttestation {
  const layer = contentOf(ATTESTATION_TYPE, bundle);
  const config = contentOf(EMPTY_TYPE, EMPTY);
  const { mediaType, digest, size } = subject;
  const attested = attestedAt(bundle);
  const manifest = {
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.ociManifest,
    artifactType: ATTESTATION_TYPE,
    config: descriptorOf(config),
    layers: [descriptorOf(layer)],
    subject: { mediaType, digest, size },
    annotations: {
      'dev.sigstore.bundle.content': 'dsse-envelope',
      'dev.sigstore.bundle.predicateType': PREDICATE_TYPE,
      'org.opencontainers.image.created': new Date(attested).toISOString(),
    },
  };
  return {
    manifest: contentOf(MEDIA_TYPES.ociManifest, Buffer.from(JSON.stringify(manifest))),
    blobs: [config, layer],
    artifactType: ATTESTATION_TYPE,
    attested,
  };
}

function contentOf(mediaType: string, bytes: Uint8Array): Content {
  return { mediaType, digest: digestOf(bytes), size: bytes.length, bytes };
}

function descriptorOf({ mediaType, digest, size }: Content): Subject {
  return { mediaType, digest, size };
}

function attestedAt(bundle: Uint8Array): number {
  const root = Place.ofBytes('read attestation', bundle);
  const payload = Buffer.from(root.at('dsseEnvelope').at('payload').text(), 'base64');
  const predicate = Place.ofBytes('read attestation', payload).at('predicate');
  const time = predicate.at('archive').at('attested');
  const at = Date.parse(time.text());
  if (Number.isNaN(at)) throw time.fail('must be a time in ISO 8601');
  return at;
}

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
