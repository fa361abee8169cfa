import { execFileSync } from 'node:child_process';
import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import Ajv from 'ajv';
import { describe, expect, test } from 'vitest';
import { attestationFault, attestationOf, signStatement } from '../../../lib/attest/attestation.ts';
import { parseAttestationKey } from '../../../lib/attest/key.ts';
import { type Mirrored, PREDICATE_TYPE, statementOf } from '../../../lib/attest/statement.ts';
import { digestOf } from '../../../lib/oci/digest.ts';
import { parseManifest } from '../../../lib/oci/manifest.ts';
import { preAuthEncoding } from '../../../lib/signatures/bundle.ts';
import { parsePublicKey } from '../../../lib/signatures/public-key.ts';
import { pemOf } from '../../kit/sigstore.ts';
import { tempFolder } from '../../kit/temp.ts';

const IMAGE = digestOf(Buffer.from('image'));
const LAYER = digestOf(Buffer.from('layer'));

const MIRRORED: Mirrored = {
  repository: 'docker.io/library/alpine',
  source: 'docker.io/library/alpine',
  digest: IMAGE,
  observed: Date.UTC(2026, 0, 2),
  attested: Date.UTC(2026, 0, 3),
  platforms: [{ os: 'linux', architecture: 'amd64' }],
  content: {
    manifests: [{ digest: IMAGE, mediaType: 'application/vnd.oci.image.manifest.v1+json', size: 5 }],
    blobs: [{ digest: LAYER, mediaType: 'application/vnd.oci.image.layer.v1.tar', size: 5, diffId: LAYER }],
  },
  policy: { verify: 'require', minimumAgeMs: 604_800_000, moved: 'follow' },
  verified: { by: 'key sha256:00', at: Date.UTC(2026, 0, 1) },
};

function keyOf(type: string): { readonly publicKey: KeyObject; readonly pem: string } {
  const { publicKey, privateKey } =
    type === 'ed25519'
      ? generateKeyPairSync('ed25519')
      : type === 'rsa'
        ? generateKeyPairSync('rsa', { modulusLength: 2048 })
        : generateKeyPairSync('ec', { namedCurve: type });
  return { publicKey, pem: privateKey.export({ format: 'pem', type: 'pkcs8' }).toString() };
}

interface Envelope {
  readonly payload: string;
  readonly payloadType: string;
  readonly signatures: readonly { readonly sig: string }[];
}

function envelopeOf(bundle: Uint8Array): Envelope {
  return (JSON.parse(Buffer.from(bundle).toString()) as { dsseEnvelope: Envelope }).dsseEnvelope;
}

describe('an attestation', () => {
  test.each(['P-256', 'P-384', 'rsa'])('with a key of %s is verified by openssl', async (type) => {
    const { publicKey, pem } = keyOf(type);
    const { payload, payloadType, signatures } = envelopeOf(
      await signStatement(statementOf(MIRRORED, '1.0.0'), parseAttestationKey(pem)),
    );
    await using folder = await tempFolder();
    await writeFile(folder.join('key.pem'), pemOf(publicKey));
    await writeFile(folder.join('signature'), Buffer.from(signatures[0]!.sig, 'base64'));
    await writeFile(folder.join('data'), preAuthEncoding(payloadType, Buffer.from(payload, 'base64')));
    const args = ['dgst', '-sha256', '-verify', 'key.pem', '-signature', 'signature', 'data'];
    expect(execFileSync('openssl', args, { cwd: folder.path, encoding: 'utf8' })).toContain('Verified OK');
  });

  test.each(['P-256', 'ed25519'])('with a key of %s is verified by its key only', async (type) => {
    const { publicKey, pem } = keyOf(type);
    const bundle = await signStatement(statementOf(MIRRORED, '1.0.0'), parseAttestationKey(pem));
    const key = parsePublicKey(pemOf(publicKey));
    const other = parsePublicKey(pemOf(keyOf('P-256').publicKey));
    expect(attestationFault(bundle, IMAGE, [other, key])).toBeUndefined();
    expect(attestationFault(bundle, IMAGE, [other])).toMatch(/by a key that is not trusted/);
    expect(attestationFault(bundle, LAYER, [key])).toMatch(/it signs another digest/);
    expect(attestationFault(Buffer.from('{}'), IMAGE, [key])).toMatch(/neither an envelope nor/);
  });

  test('states the source, the content and the policy as its schema says', () => {
    const schema = JSON.parse(
      readFileSync(join(import.meta.dirname, '../../../docs/attestation.schema.json'), 'utf8'),
    ) as object;
    const validate = new Ajv().compile(schema);
    const { verified: _, ...unsigned } = MIRRORED;
    for (const mirrored of [MIRRORED, { ...unsigned, platforms: 'all' as const }]) {
      expect(
        validate(JSON.parse(JSON.stringify(statementOf(mirrored, '1.0.0')))),
        JSON.stringify(validate.errors),
      ).toBe(true);
    }
    expect(statementOf(MIRRORED, '1.0.0')).toMatchObject({
      subject: [{ name: MIRRORED.repository, digest: { sha256: IMAGE.slice(7) } }],
      predicateType: PREDICATE_TYPE,
      predicate: {
        source: { repository: MIRRORED.source, digest: IMAGE, observed: '2026-01-02T00:00:00.000Z' },
        proven: { platforms: ['linux/amd64'], blobs: [{ digest: LAYER, size: 5, diffId: LAYER }] },
        policy: { verify: 'require', minimumAgeSeconds: 604_800, signedAt: '2026-01-01T00:00:00.000Z' },
      },
    });
  });

  test('is a referrer of its image with the bundle as its layer', async () => {
    const bundle = await signStatement(statementOf(MIRRORED, '1.0.0'), parseAttestationKey(keyOf('P-256').pem));
    const subject = { mediaType: 'application/vnd.oci.image.manifest.v1+json', digest: IMAGE, size: 5 };
    const { manifest, blobs, attested } = attestationOf(bundle, subject);
    const parsed = parseManifest(manifest.bytes, manifest.mediaType);
    expect(parsed).toMatchObject({
      kind: 'image',
      artifactType: 'application/vnd.dev.sigstore.bundle.v0.3+json',
      subject,
      layers: [{ digest: digestOf(bundle), size: bundle.length }],
    });
    expect(blobs.map(({ digest }) => digest)).toContain(digestOf(bundle));
    expect(attested).toBe(MIRRORED.attested);
    expect(attestationOf(bundle, subject).manifest.digest).toBe(manifest.digest);
  });

  test('must have a time in its statement', async () => {
    const statement = structuredClone(statementOf(MIRRORED, '1.0.0')) as {
      predicate: { archive: { attested: string } };
    };
    statement.predicate.archive.attested = 'yesterday';
    const bundle = await signStatement(statement, parseAttestationKey(keyOf('P-256').pem));
    const subject = { mediaType: 'application/vnd.oci.image.manifest.v1+json', digest: IMAGE, size: 5 };
    expect(() => attestationOf(bundle, subject)).toThrow(
      'read attestation: predicate.archive.attested: must be a time in ISO 8601',
    );
  });
});

describe('an attestation key', () => {
  test.each([
    ['a text', 'secret text'],
    ['a public key', pemOf(keyOf('P-256').publicKey)],
    ['a broken key', '-----BEGIN PRIVATE KEY-----\nsecret\n-----END PRIVATE KEY-----'],
  ])('cannot be %s, and the reason does not contain it', (_, pem) => {
    expect(() => parseAttestationKey(pem)).toThrow('it is not a private key in PEM without a passphrase');
    expect(() => parseAttestationKey(pem)).not.toThrow('secret');
  });

  test('has a supported type', () => {
    expect(() => parseAttestationKey(keyOf('secp256k1').pem)).toThrow('secp256k1 is not supported');
  });
});
