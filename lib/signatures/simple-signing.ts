import { createHash, X509Certificate } from 'node:crypto';
import { own } from '../core/own.ts';
import type { Digest } from '../oci/digest.ts';
import { Place } from '../oci/document.ts';
import { show } from '../oci/show.ts';
import { base64, type ParsedSignature, SIGNATURE_LIMITS, type SignedImage } from './signature.ts';

/** The type of a payload (cosign, "Signature Specification"). */
const PAYLOAD_TYPE = 'cosign container image signature';

/** The annotations of a layer of cosign's `.sig` manifest. */
const ANNOTATIONS = {
  signature: 'dev.cosignproject.cosign/signature',
  certificate: 'dev.sigstore.cosign/certificate',
  bundle: 'dev.sigstore.cosign/bundle',
  timestamp: 'dev.sigstore.cosign/rfc3161timestamp',
} as const;

type Annotations = Readonly<Record<string, string>>;

/**
 * Reads a signature in cosign's first form, and converts it to a Sigstore bundle whose log entry has a promise of inclusion.
 *
 * The annotation `chain` is ignored: the intermediate certificates of the trusted root are used.
 *
 * @returns the reason why it does not sign the image, as a clause
 * @throws {Failure} if it cannot be read
 */
export function parseSimpleSigning(
  payload: Uint8Array,
  annotations: Annotations,
  { digest }: SignedImage,
): ParsedSignature | string {
  const limit = SIGNATURE_LIMITS.payloadBytes;
  if (payload.length > limit) return `expected a payload of at most ${limit} bytes, got ${payload.length}`;
  for (const name of Object.values(ANNOTATIONS))
    if ((own(annotations, name)?.length ?? 0) > limit)
      return `its annotation ${name} has more than ${limit} characters`;
  const fault = payloadFault(payload, digest);
  if (fault !== undefined) return fault;
  const text = own(annotations, ANNOTATIONS.signature);
  if (text === undefined) return `it has no annotation ${ANNOTATIONS.signature}`;
  const signature = base64(new Place('read signature', 'signature', text.trim()));
  const certificate = certificateOf(annotations);
  const tlogEntries = logEntriesOf(annotations);
  const rfc3161Timestamps = timestampsOf(annotations);
  const bundle = {
    mediaType: 'application/vnd.dev.sigstore.bundle+json;version=0.1',
    messageSignature: {
      messageDigest: { algorithm: 'SHA2_256', digest: createHash('sha256').update(payload).digest('base64') },
      signature: signature.toString('base64'),
    },
    verificationMaterial: {
      ...(certificate === undefined
        ? { publicKey: { hint: '' } }
        : { x509CertificateChain: { certificates: [{ rawBytes: certificate.toString('base64') }] } }),
      tlogEntries,
      timestampVerificationData: { rfc3161Timestamps },
    },
  };
  const isTimed = tlogEntries.length + rfc3161Timestamps.length > 0;
  const parsed = { signed: payload, artifact: payload, signature, isTimed, bundle };
  return certificate === undefined ? parsed : { ...parsed, certificate };
}

/** The reason why a payload does not sign `digest`, as a clause; `undefined` if it does. */
function payloadFault(payload: Uint8Array, digest: Digest): string | undefined {
  const critical = Place.ofBytes('read payload', payload).at('critical');
  const type = critical.at('type').text();
  if (type !== PAYLOAD_TYPE) return `it has the type ${show(type)}, expected ${show(PAYLOAD_TYPE)}`;
  const signed = critical.at('image').at('docker-manifest-digest').text();
  return signed === digest ? undefined : `it signs another digest (${show(signed)})`;
}

function certificateOf(annotations: Annotations): Buffer | undefined {
  const pem = own(annotations, ANNOTATIONS.certificate);
  return pem === undefined || pem === '' ? undefined : new X509Certificate(pem).raw;
}

/** Rekor's answer as cosign keeps it: the entry, and the log's signed promise to include it. */
function logEntriesOf(annotations: Annotations): readonly unknown[] {
  const text = own(annotations, ANNOTATIONS.bundle);
  if (text === undefined || text === '') return [];
  const root = new Place('read signature', 'bundle', text).json();
  const entry = root.at('Payload');
  const canonicalizedBody = base64(entry.at('body'), SIGNATURE_LIMITS.payloadBytes);
  const body = Place.ofBytes('read log entry', canonicalizedBody);
  return [
    {
      logIndex: String(entry.at('logIndex').integer()),
      logId: { keyId: Buffer.from(entry.at('logID').text(), 'hex').toString('base64') },
      kindVersion: { kind: body.at('kind').text(), version: body.at('apiVersion').text() },
      integratedTime: String(entry.at('integratedTime').integer()),
      inclusionPromise: { signedEntryTimestamp: base64(root.at('SignedEntryTimestamp')).toString('base64') },
      canonicalizedBody: canonicalizedBody.toString('base64'),
    },
  ];
}

function timestampsOf(annotations: Annotations): readonly { readonly signedTimestamp: string }[] {
  const text = own(annotations, ANNOTATIONS.timestamp);
  if (text === undefined || text === '') return [];
  const signed = new Place('read signature', 'timestamp', text).json().at('SignedRFC3161Timestamp');
  return [{ signedTimestamp: base64(signed).toString('base64') }];
}
