/** The signed form of a statement: a DSSE envelope in a Sigstore bundle, as a referrer of its image. Pure. */
import { type Digest, digestOf } from '../oci/digest.ts';
import { MEDIA_TYPES } from '../oci/mediatype.ts';
import { preAuthEncoding } from '../signatures/envelope.ts';
import type { AttestationKey } from './key.ts';
import { PREDICATE_TYPE } from './statement.ts';

const BUNDLE_TYPE = 'application/vnd.dev.sigstore.bundle.v0.3+json';
const IN_TOTO_TYPE = 'application/vnd.in-toto+json';
const EMPTY = Buffer.from('{}');
const EMPTY_TYPE = 'application/vnd.oci.empty.v1+json';

export interface Subject {
  readonly mediaType: string;
  readonly digest: Digest;
  readonly size: number;
}

/** A manifest and its blobs. */
export interface StoredAttestation {
  readonly manifest: Subject & { readonly bytes: Uint8Array };
  readonly blobs: readonly { readonly digest: Digest; readonly bytes: Uint8Array }[];
}

/** Signs a statement. Signatures of ECDSA differ each time. */
export async function signStatement(statement: object, key: AttestationKey): Promise<Uint8Array> {
  const payload = Buffer.from(JSON.stringify(statement));
  const signature = await key.sign(preAuthEncoding(IN_TOTO_TYPE, payload));
  const bundle = {
    mediaType: BUNDLE_TYPE,
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
export function attestationOf(bundle: Uint8Array, subject: Subject, created: string): StoredAttestation {
  const layer = { mediaType: BUNDLE_TYPE, digest: digestOf(bundle), size: bundle.length };
  const config = { mediaType: EMPTY_TYPE, digest: digestOf(EMPTY), size: EMPTY.length };
  const { mediaType, digest, size } = subject;
  const bytes = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: MEDIA_TYPES.ociManifest,
      artifactType: BUNDLE_TYPE,
      config,
      layers: [layer],
      subject: { mediaType, digest, size },
      annotations: {
        'dev.sigstore.bundle.content': 'dsse-envelope',
        'dev.sigstore.bundle.predicateType': PREDICATE_TYPE,
        'org.opencontainers.image.created': created,
      },
    }),
  );
  return {
    manifest: { mediaType: MEDIA_TYPES.ociManifest, digest: digestOf(bytes), size: bytes.length, bytes },
    blobs: [
      { digest: layer.digest, bytes: bundle },
      { digest: config.digest, bytes: EMPTY },
    ],
  };
}
