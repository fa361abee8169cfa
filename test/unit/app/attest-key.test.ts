import { generateKeyPairSync, sign } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { GetPublicKeyCommand, KMSClient, SignCommand } from '@aws-sdk/client-kms';
import { mockClient } from 'aws-sdk-client-mock';
import { describe, expect, test } from 'vitest';
import { kmsKey, loadAttestationKey } from '../../../lib/app/attest-key.ts';
import { isSignedBy, parsePublicKey } from '../../../lib/signatures/public-key.ts';
import { pemOf } from '../../kit/sigstore.ts';
import { tempFolder } from '../../kit/temp.ts';

const ARN = 'arn:aws:kms:eu-central-1:123456789012:key/0000';
const DATA = Buffer.from('data');

describe('an attestation key', () => {
  test('is read from a file, and a missing file is named', async () => {
    await using folder = await tempFolder();
    const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    await writeFile(folder.join('key.pem'), privateKey.export({ format: 'pem', type: 'pkcs8' }));
    const key = await loadAttestationKey(folder.join('key.pem'));
    expect(isSignedBy(parsePublicKey(pemOf(publicKey)), DATA, await key.sign(DATA))).toBe(true);
    await expect(loadAttestationKey('arn:aws:kms:eu-central-1:123456789012:alias/key')).rejects.toThrow(
      'not the ARN of a KMS key',
    );
    await expect(loadAttestationKey(folder.join('none.pem'))).rejects.toThrow(/read attestation key .*none\.pem: /);
  });

  test.each([
    ['P-256', 'ECDSA_SHA_256', 'sha256'],
    ['P-384', 'ECDSA_SHA_384', 'sha384'],
  ] as const)('of %s stays in KMS, which signs the hash', async (namedCurve, algorithm, hash) => {
    const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve });
    const kms = mockClient(KMSClient);
    const der = publicKey.export({ format: 'der', type: 'spki' });
    kms.on(GetPublicKeyCommand, { KeyId: ARN }).resolves({ PublicKey: der, SigningAlgorithms: [algorithm] });
    // KMS signs the hash that it gets; node:crypto makes the same signature of the data.
    kms.on(SignCommand).callsFake(() => Promise.resolve({ Signature: sign(hash, DATA, privateKey) }));
    const key = await kmsKey(ARN, new KMSClient({ region: 'eu-central-1' }));
    expect(isSignedBy(parsePublicKey(pemOf(publicKey)), DATA, await key.sign(DATA))).toBe(true);
    const [call] = kms.commandCalls(SignCommand);
    expect(call?.args[0].input).toMatchObject({ KeyId: ARN, MessageType: 'DIGEST', SigningAlgorithm: algorithm });
  });

  test.each([
    ['AccessDeniedException', 'never'],
    ['NotFoundException', 'never'],
    ['ThrottlingException', 'retry'],
  ])('that KMS refuses with %s has the remedy %s', async (name, remedy) => {
    const kms = mockClient(KMSClient);
    kms.on(GetPublicKeyCommand).rejects(Object.assign(new Error('no'), { name }));
    await expect(kmsKey(ARN, new KMSClient({ region: 'eu-central-1' }))).rejects.toMatchObject({ remedy });
  });

  test('of KMS that cannot sign is refused', async () => {
    const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const kms = mockClient(KMSClient);
    const der = publicKey.export({ format: 'der', type: 'spki' });
    kms.on(GetPublicKeyCommand).resolves({ PublicKey: der, SigningAlgorithms: ['RSASSA_PSS_SHA_256'] });
    await expect(kmsKey(ARN, new KMSClient({ region: 'eu-central-1' }))).rejects.toThrow('use a key of ECC_NIST_P256');
  });
});
