/** A Sigstore of this process: certificate authority, logs and timestamp authority of @sigstore/mock, and signers of images. */
import { createHash, generateKeyPairSync, type KeyObject, sign, X509Certificate } from 'node:crypto';
import { initializeCA, initializeCTLog, initializeTLog, initializeTSA } from '@sigstore/mock';
import { digestParts, type Digest } from '../../lib/oci/digest.ts';
import { preAuthEncoding } from '../../lib/signatures/bundle.ts';
import type { FoundSignature } from '../../lib/signatures/signature.ts';

export interface Who {
  readonly identity: string;
  readonly issuer: string;
}

/** The release workflow of a repository, as GitHub's identity names it. */
export const RELEASE: Who = {
  identity: 'https://github.com/o/r/.github/workflows/release.yml@refs/tags/v1.0.0',
  issuer: 'https://token.actions.githubusercontent.com',
};

interface SigningOptions {
  /** Minutes from the issue of the certificate to the log entry; it is valid for ten. */
  readonly logAfter?: number;
  /** Without it, the log and a promise of inclusion prove the time. */
  readonly timestamp?: 'log' | 'authority';
  readonly predicateType?: string;
}

export interface Sigstore {
  /** The JSON of the trusted root. */
  readonly trustedRoot: Buffer;
  /** The time of the certificates. */
  readonly issuedAt: Date;
  /** Signs in cosign's first form, without a key that is kept. */
  signSimple(digest: Digest, who: Who, options?: SigningOptions): Promise<SimpleSignature>;
  /** Signs an in-toto statement in a Sigstore bundle of version 0.3. */
  signBundle(digest: Digest, who: Who, options?: SigningOptions): Promise<FoundSignature & { kind: 'bundle' }>;
  /** Logs a signature by a key. */
  logSimple(signature: SimpleSignature, key: KeyObject): Promise<SimpleSignature>;
}

export type SimpleSignature = FoundSignature & { kind: 'simple-signing' };

const ISSUER_V1 = '1.3.6.1.4.1.57264.1.1';
const ISSUER_V2 = '1.3.6.1.4.1.57264.1.8';
const SHA256_OID = '2.16.840.1.101.3.4.2.1';
const LOG_URL = 'https://rekor.test';
const COSIGN_PREDICATE = 'https://sigstore.dev/cosign/sign/v1';

export function keyPair(curve = 'P-256'): { publicKey: KeyObject; privateKey: KeyObject } {
  return generateKeyPairSync('ec', { namedCurve: curve });
}

export function pemOf(key: KeyObject): string {
  return key.export({ format: 'pem', type: 'spki' }).toString();
}

function sha256(bytes: Uint8Array): Buffer {
  return createHash('sha256').update(bytes).digest();
}

export function simplePayload(digest: string, type = 'cosign container image signature'): Buffer {
  return Buffer.from(
    JSON.stringify({
      critical: {
        identity: { 'docker-reference': 'registry.test/app' },
        image: { 'docker-manifest-digest': digest },
        type,
      },
      optional: null,
    }),
  );
}

/** A signature by a key in cosign's first form. `hash` is null for Ed25519. */
export function signByKey(digest: Digest, key: KeyObject, hash: string | null = 'sha256'): SimpleSignature {
  return simple(simplePayload(digest), sign(hash, simplePayload(digest), key), {});
}

function simple(payload: Buffer, signature: Buffer, annotations: Record<string, string>): SimpleSignature {
  return {
    kind: 'simple-signing',
    name: `sha256:${sha256(payload).toString('hex')}`,
    payload,
    annotations: { 'dev.cosignproject.cosign/signature': signature.toString('base64'), ...annotations },
  };
}

export function statementOf(digest: Digest, predicateType = COSIGN_PREDICATE): Buffer {
  const { algorithm, hex } = digestParts(digest);
  const subject = [{ name: '', digest: { [algorithm]: hex } }];
  return Buffer.from(
    JSON.stringify({ _type: 'https://in-toto.io/Statement/v1', subject, predicateType, predicate: {} }),
  );
}

type Log = Awaited<ReturnType<typeof initializeTLog>>;
/** The answer of Rekor's API; the package of its types is not installed. */
interface Entry {
  readonly body: string;
  readonly integratedTime: number;
  readonly logIndex: number;
  readonly logID: string;
  readonly verification: {
    readonly signedEntryTimestamp: string;
    readonly inclusionProof: {
      readonly checkpoint: string;
      readonly logIndex: number;
      readonly rootHash: string;
      readonly treeSize: number;
    };
  };
}

async function logged(log: Log, entry: object): Promise<Entry> {
  return Object.values((await log.log(entry)) as Record<string, Entry>)[0]!;
}

function hashedRekord(payload: Buffer, signature: Buffer, verifier: string): object {
  const hash = { algorithm: 'sha256', value: sha256(payload).toString('hex') };
  const publicKey = { content: Buffer.from(verifier).toString('base64') };
  const spec = { data: { hash }, signature: { content: signature.toString('base64'), publicKey } };
  return { apiVersion: '0.0.1', kind: 'hashedrekord', spec };
}

/** The annotation in which cosign keeps the log's answer. */
function logAnnotation(entry: Entry): Record<string, string> {
  const { body, integratedTime, logIndex, logID } = entry;
  const bundle = {
    SignedEntryTimestamp: entry.verification.signedEntryTimestamp,
    Payload: { body, integratedTime, logIndex, logID },
  };
  return { 'dev.sigstore.cosign/bundle': JSON.stringify(bundle) };
}

function logEntryOfBundle(entry: Entry, kind: string): object {
  const proof = entry.verification.inclusionProof;
  return {
    logIndex: String(entry.logIndex),
    logId: { keyId: Buffer.from(entry.logID, 'hex').toString('base64') },
    kindVersion: { kind, version: '0.0.1' },
    integratedTime: String(entry.integratedTime),
    inclusionPromise: { signedEntryTimestamp: entry.verification.signedEntryTimestamp },
    inclusionProof: {
      logIndex: String(proof.logIndex),
      rootHash: Buffer.from(proof.rootHash, 'hex').toString('base64'),
      treeSize: String(proof.treeSize),
      hashes: [],
      checkpoint: { envelope: proof.checkpoint },
    },
    canonicalizedBody: entry.body,
  };
}

export async function startSigstore(): Promise<Sigstore> {
  // After the start of the authorities' own certificates, which have the time of this machine.
  const issuedAt = new Date(Math.ceil(Date.now() / 1000) * 1000 + 60_000);
  const keys = { ca: keyPair('P-384'), ct: keyPair(), log: keyPair(), tsa: keyPair('P-384') };
  const ctLog = await initializeCTLog(keys.ct, issuedAt);
  const ca = await initializeCA(keys.ca, ctLog, issuedAt);
  const tsa = await initializeTSA(keys.tsa, issuedAt);
  const logAt = (minutes = 0): Promise<Log> =>
    initializeTLog(LOG_URL, keys.log, new Date(issuedAt.getTime() + minutes * 60_000));

  const certify = async ({ identity, issuer }: Who): Promise<{ pem: string; raw: Buffer; privateKey: KeyObject }> => {
    const pair = keyPair();
    const publicKey = pair.publicKey.export({ format: 'der', type: 'spki' });
    const extensions = [
      { oid: ISSUER_V1, value: issuer, legacy: true },
      { oid: ISSUER_V2, value: issuer },
    ];
    const issued = await ca.issueCertificate({ publicKey, subjectAltName: identity, extensions });
    const raw = Buffer.from(issued.buffer, issued.byteOffset, issued.byteLength);
    return { raw, pem: new X509Certificate(raw).toString(), privateKey: pair.privateKey };
  };
  const stamp = async (signature: Buffer): Promise<string> => {
    const request = { artifactHash: sha256(signature), hashAlgorithmOID: SHA256_OID, nonce: 1, policyOID: '1.2.3' };
    const response = await tsa.timestamp(request);
    return Buffer.from(response.buffer, response.byteOffset, response.byteLength).toString('base64');
  };

  return {
    trustedRoot: trustedRootOf(
      [ca.rootCertificate],
      [tsa.intCertificate, tsa.rootCertificate],
      { ct: keys.ct.publicKey, log: keys.log.publicKey },
      issuedAt,
    ),
    issuedAt,
    async signSimple(digest, who, { logAfter } = {}) {
      const { pem, privateKey } = await certify(who);
      const payload = simplePayload(digest);
      const signature = sign('sha256', payload, privateKey);
      const entry = await logged(await logAt(logAfter), hashedRekord(payload, signature, pem));
      return simple(payload, signature, { 'dev.sigstore.cosign/certificate': pem, ...logAnnotation(entry) });
    },
    async signBundle(digest, who, { logAfter, timestamp = 'log', predicateType } = {}) {
      const { raw, pem, privateKey } = await certify(who);
      const payload = statementOf(digest, predicateType);
      const payloadType = 'application/vnd.in-toto+json';
      const signature = sign('sha256', preAuthEncoding(payloadType, payload), privateKey);
      const payloadHash = { algorithm: 'sha256', value: sha256(payload).toString('hex') };
      const signatures = [{ signature: signature.toString('base64'), verifier: Buffer.from(pem).toString('base64') }];
      const entry = await logged(await logAt(logAfter), {
        apiVersion: '0.0.1',
        kind: 'dsse',
        spec: { payloadHash, signatures },
      });
      const stamps = timestamp === 'authority' ? [{ signedTimestamp: await stamp(signature) }] : [];
      const logEntry = logEntryOfBundle(entry, 'dsse');
      const bundle = {
        mediaType: 'application/vnd.dev.sigstore.bundle.v0.3+json',
        verificationMaterial: {
          certificate: { rawBytes: raw.toString('base64') },
          tlogEntries: [timestamp === 'log' ? logEntry : { ...logEntry, inclusionPromise: undefined }],
          timestampVerificationData: { rfc3161Timestamps: stamps },
        },
        dsseEnvelope: {
          payload: payload.toString('base64'),
          payloadType,
          signatures: [{ sig: signature.toString('base64'), keyid: '' }],
        },
      };
      const bytes = Buffer.from(JSON.stringify(bundle));
      return { kind: 'bundle', name: `sha256:${sha256(bytes).toString('hex')}`, bytes };
    },
    async logSimple({ payload, annotations }, key) {
      const signature = Buffer.from(annotations['dev.cosignproject.cosign/signature']!, 'base64');
      const entry = await logged(await logAt(), hashedRekord(Buffer.from(payload), signature, pemOf(key)));
      return simple(Buffer.from(payload), signature, logAnnotation(entry));
    },
  };
}

type Raw = ArrayBufferView;

function encoded(raw: Raw): { rawBytes: string } {
  return { rawBytes: Buffer.from(raw.buffer, raw.byteOffset, raw.byteLength).toString('base64') };
}

function trustedRootOf(
  ca: readonly Raw[],
  tsa: readonly Raw[],
  { ct, log }: { readonly ct: KeyObject; readonly log: KeyObject },
  at: Date,
): Buffer {
  const validFor = { start: new Date(at.getTime() - 3_600_000).toISOString() };
  const authority = (chain: readonly Raw[]): object => ({
    subject: { commonName: 'sigstore', organization: 'sigstore.mock' },
    uri: 'https://ca.test',
    certChain: { certificates: chain.map(encoded) },
    validFor,
  });
  const logOf = (key: KeyObject, baseUrl: string): object => {
    const rawBytes = key.export({ format: 'der', type: 'spki' });
    const publicKey = { rawBytes: rawBytes.toString('base64'), keyDetails: 'PKIX_ECDSA_P256_SHA_256', validFor };
    return { baseUrl, hashAlgorithm: 'SHA2_256', publicKey, logId: { keyId: sha256(rawBytes).toString('base64') } };
  };
  return Buffer.from(
    JSON.stringify({
      mediaType: 'application/vnd.dev.sigstore.trustedroot+json;version=0.1',
      tlogs: [logOf(log, LOG_URL)],
      certificateAuthorities: [authority(ca)],
      ctlogs: [logOf(ct, 'https://ctfe.test')],
      timestampAuthorities: [authority(tsa)],
    }),
  );
}
