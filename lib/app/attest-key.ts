/** Loads the key that signs attestations: from a file, or from AWS KMS. */
import { createHash, createPublicKey } from 'node:crypto';
import type { KMSClient, SigningAlgorithmSpec } from '@aws-sdk/client-kms';
import { type AttestationKey, parseAttestationKey } from '../attest/key.ts';
import { Failure, invalid } from '../core/failure.ts';
import { inputFile } from '../core/input-file.ts';
import { show } from '../oci/show.ts';
import { keyIdOf } from '../signatures/public-key.ts';
import type { Attestor } from '../sync/finalizer/attest.ts';
import { SMALL_REQUESTS } from './aws-requests.ts';
import { VERSION } from './version.ts';

/** The signatures that `openssl` and cosign verify, with their hashes. KMS has only SHA-384 for a key of P-384. */
const ALGORITHMS: readonly (readonly [SigningAlgorithmSpec, hash: string])[] = [
  ['ECDSA_SHA_256', 'sha256'],
  ['ECDSA_SHA_384', 'sha384'],
  ['RSASSA_PKCS1_V1_5_SHA_256', 'sha256'],
];

const KMS_ARN = /^arn:[\w-]+:kms:([\w-]+):\d{12}:key\/[\w-]+$/;

/** @param place a file with a private key in PEM, or the ARN of a key in KMS */
export async function loadAttestationKey(place: string, signal?: AbortSignal): Promise<AttestationKey> {
  const [, region] = KMS_ARN.exec(place) ?? [];
  if (region !== undefined) {
    const { KMSClient } = await import('./kms-client.ts');
    return kmsKey(place, new KMSClient({ region, ...SMALL_REQUESTS }));
  }
  if (place.startsWith('arn:'))
    throw invalid(
      `read attestation key ${place}`,
      'not the ARN of a KMS key (expected arn:aws:kms:REGION:ACCOUNT:key/ID)',
    );
  const pem = await inputFile('read attestation key', place, { signal });
  return parseAttestationKey(pem.toString('utf8'));
}

/** The signer of attestations with the key at a place; undefined without a place. The key is read on first use. */
export function attestorWith(place: string | undefined, signal?: AbortSignal): (() => Promise<Attestor>) | undefined {
  if (place === undefined) return undefined;
  let loading: Promise<AttestationKey> | undefined;
  return async () => {
    loading ??= loadAttestationKey(place, signal);
    // A failure is not kept.
    loading.catch(() => (loading = undefined));
    return { key: await loading, version: VERSION, now: Date.now };
  };
}

/** A key that never leaves KMS. Costs one request, and one per signature. */
export async function kmsKey(arn: string, client: KMSClient): Promise<AttestationKey> {
  const { GetPublicKeyCommand, SignCommand } = await import('./kms-client.ts');
  const operation = `read attestation key ${arn}`;
  const { PublicKey: der, SigningAlgorithms: supported = [] } = await client
    .send(new GetPublicKeyCommand({ KeyId: arn }))
    .catch((error: unknown) => {
      throw kmsFailure(operation, error);
    });
  const [algorithm, hash] = ALGORITHMS.find(([name]) => supported.includes(name)) ?? [];
  if (der === undefined || algorithm === undefined || hash === undefined)
    throw invalid(operation, `it signs with ${show(supported.join(', '))}; use a key of ECC_NIST_P256 for SIGN_VERIFY`);
  return {
    id: keyIdOf(createPublicKey({ key: Buffer.from(der), format: 'der', type: 'spki' })),
    async sign(data) {
      const Message = createHash(hash).update(data).digest();
      const request = { KeyId: arn, Message, MessageType: 'DIGEST', SigningAlgorithm: algorithm } as const;
      const { Signature: signature } = await client.send(new SignCommand(request)).catch((error: unknown) => {
        throw kmsFailure(`sign with ${arn}`, error);
      });
      if (signature === undefined) throw invalid(`sign with ${arn}`, 'the response has no signature');
      return signature;
    },
  };
}

function kmsFailure(operation: string, error: unknown): Failure {
  const { name, message } = error as Error;
  const detail = `${name}: ${message}`;
  // A retry does not help: the key, its state or the permission is wrong.
  if (/^(?:NotFound|AccessDenied|Disabled|KMSInvalidState|InvalidKeyUsage|InvalidArn)/.test(name))
    return invalid(operation, detail);
  return new Failure({ operation, side: 'archive', code: 'unavailable', detail, cause: error });
}
