import { generateKeyPairSync, sign, X509Certificate } from 'node:crypto';
import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { digestOf, type Digest } from '../../../lib/oci/digest.ts';
import type { Signer } from '../../../lib/policy/policy.ts';
import { preAuthEncoding } from '../../../lib/signatures/bundle.ts';
import { type FoundSignature, SIGNATURE_LIMITS } from '../../../lib/signatures/signature.ts';
import { type Verification, verifySignatures } from '../../../lib/signatures/verify.ts';
import {
  keyPair,
  pemOf,
  RELEASE,
  signByKey,
  simplePayload,
  type Sigstore,
  startSigstore,
  statementOf,
} from '../../kit/sigstore.ts';

const MANIFEST = Buffer.from('{"schemaVersion":2}');
const IMAGE = digestOf(MANIFEST);
const OTHER = digestOf(Buffer.from('another image'));
const WANTED = [{ identity: RELEASE.identity, issuer: RELEASE.issuer }];
const BY_RELEASE = `"${RELEASE.identity}" (issuer "${RELEASE.issuer}")`;

let sigstore: Sigstore;
/** Other authorities. */
let stranger: Sigstore;

beforeAll(async () => {
  [sigstore, stranger] = await Promise.all([startSigstore(), startSigstore()]);
});

function verify(
  found: readonly FoundSignature[],
  signers: readonly Signer[] = WANTED,
  digest: Digest = IMAGE,
): Promise<Verification> {
  return verifySignatures({ digest, manifest: MANIFEST, found, signers, trustedRoot: sigstore.trustedRoot });
}

async function refusal(found: readonly FoundSignature[], signers?: readonly Signer[]): Promise<string> {
  const result = await verify(found, signers);
  return 'refused' in result ? result.refused : `verified by ${result.verified.by}`;
}

/** A change of the parsed JSON of a bundle or of cosign's annotation `bundle`. */
function altered(found: FoundSignature, change: (json: never) => void): FoundSignature {
  if (found.kind === 'bundle') {
    const json = JSON.parse(Buffer.from(found.bytes).toString()) as never;
    change(json);
    return { ...found, bytes: Buffer.from(JSON.stringify(json)) };
  }
  const name = 'dev.sigstore.cosign/bundle';
  const json = JSON.parse(found.annotations[name]!) as never;
  change(json);
  return { ...found, annotations: { ...found.annotations, [name]: JSON.stringify(json) } };
}

describe.each([
  ['cosign .sig', (...args: Parameters<Sigstore['signSimple']>) => sigstore.signSimple(...args)],
  ['Sigstore bundle', (...args: Parameters<Sigstore['signBundle']>) => sigstore.signBundle(...args)],
] as const)('a signature by a certificate in a %s', (form, signed) => {
  test('is accepted from the wanted identity, and has the time of the log', async () => {
    expect(await verify([await signed(IMAGE, RELEASE)])).toEqual({
      verified: { by: BY_RELEASE, at: sigstore.issuedAt.getTime() },
    });
  });

  test('is accepted from an identity and an issuer that match patterns', async () => {
    const pattern = 'https://github.com/o/r/.github/workflows/release.yml@refs/tags/*';
    const signers = [{ identity: pattern, issuer: 'https://token.actions.*' }];
    expect(await refusal([await signed(IMAGE, RELEASE)], signers)).toBe(`verified by ${BY_RELEASE}`);
  });

  test('is refused from another identity', async () => {
    const identity = `${RELEASE.identity}.evil`;
    expect(await refusal([await signed(IMAGE, { ...RELEASE, identity })])).toMatch(
      `it is by "${identity}" (issuer "${RELEASE.issuer}"), expected ${BY_RELEASE}`,
    );
  });

  test('is refused from another issuer', async () => {
    const issuer = 'https://accounts.example.com';
    expect(await refusal([await signed(IMAGE, { ...RELEASE, issuer })])).toMatch(
      `it is by "${RELEASE.identity}" (issuer "${issuer}"), expected ${BY_RELEASE}`,
    );
  });

  test('is refused if it signs another digest', async () => {
    expect(await refusal([await signed(OTHER, RELEASE)])).toMatch(/^signature "sha256:[0-9a-f]{64}": it signs another/);
  });

  test('is refused if its log entry was altered', async () => {
    const later = altered(await signed(IMAGE, RELEASE), (json: never) => {
      if (form === 'cosign .sig') (json as { Payload: { integratedTime: number } }).Payload.integratedTime += 1;
      else {
        const { verificationMaterial: material } = json as unknown as {
          verificationMaterial: { tlogEntries: { integratedTime: string }[] };
        };
        const entry = material.tlogEntries[0]!;
        entry.integratedTime = String(Number(entry.integratedTime) + 1);
      }
    });
    expect(await refusal([later])).toMatch(
      `it claims to be by "${RELEASE.identity}", and does not verify: inclusion promise could not be verified (expected`,
    );
  });

  test('is refused if it was logged after its certificate expired', async () => {
    expect(await refusal([await signed(IMAGE, RELEASE, { logAfter: 11 })])).toMatch(
      'Failed to verify certificate chain (certificate is not valid or expired at the specified date)',
    );
  });

  test('is refused if the trusted root has another authority', async () => {
    const { trustedRoot } = stranger;
    const found = [await signed(IMAGE, RELEASE)];
    const result = await verifySignatures({ digest: IMAGE, found, signers: WANTED, trustedRoot });
    expect(result).toEqual({ refused: expect.stringContaining('Failed to verify certificate chain') });
  });

  test('is refused without a trusted root, and names the setting', async () => {
    const found = [await signed(IMAGE, RELEASE)];
    const result = await verifySignatures({ digest: IMAGE, found, signers: WANTED });
    expect(result).toEqual({ refused: expect.stringContaining('set trustedRoot') });
  });

  test('is refused if only keys are trusted', async () => {
    const signers = [{ key: pemOf(keyPair().publicKey) }];
    expect(await refusal([await signed(IMAGE, RELEASE)], signers)).toMatch(
      new RegExp(`it is by the certificate of "${RELEASE.identity}" \\(expected key sha256:[0-9a-f]{64}\\)`),
    );
  });
});

describe('a Sigstore bundle', () => {
  test('is accepted with the time of a timestamp authority', async () => {
    const found = await sigstore.signBundle(IMAGE, RELEASE, { timestamp: 'authority' });
    expect(await verify([found])).toEqual({ verified: { by: BY_RELEASE, at: sigstore.issuedAt.getTime() } });
  });

  test('is accepted with its certificate in a chain, as in bundles of version 0.2', async () => {
    const found = altered(await sigstore.signBundle(IMAGE, RELEASE), (json: never) => {
      const { verificationMaterial } = json as { verificationMaterial: { certificate?: object } };
      const { certificate, ...material } = verificationMaterial;
      Object.assign(json, {
        mediaType: 'application/vnd.dev.sigstore.bundle+json;version=0.2',
        verificationMaterial: { ...material, x509CertificateChain: { certificates: [certificate] } },
      });
    });
    expect(await verify([found])).toEqual({ verified: { by: BY_RELEASE, at: sigstore.issuedAt.getTime() } });
  });

  test('has the time of a timestamp authority also without a certificate', async () => {
    let key = '';
    const found = altered(await sigstore.signBundle(IMAGE, RELEASE, { timestamp: 'authority' }), (json: never) => {
      const { verificationMaterial } = json as { verificationMaterial: { certificate: { rawBytes: string } } };
      const { certificate, ...material } = verificationMaterial;
      key = pemOf(new X509Certificate(Buffer.from(certificate.rawBytes, 'base64')).publicKey);
      Object.assign(json, { verificationMaterial: { ...material, publicKey: { hint: 'a key' } } });
    });
    expect(await verify([found], [{ key }])).toEqual({
      verified: { by: expect.stringMatching(/^key sha256:/), at: sigstore.issuedAt.getTime() },
    });
  });

  test('is refused if no authority signed its time', async () => {
    const found = altered(await sigstore.signBundle(IMAGE, RELEASE), (json: never) => {
      const { verificationMaterial } = json as { verificationMaterial: { tlogEntries: Record<string, unknown>[] } };
      delete verificationMaterial.tlogEntries[0]!['inclusionPromise'];
    });
    expect(await refusal([found])).toMatch('expected 1 timestamps, got 0');
  });

  test('is refused if it has no log entry', async () => {
    const found = altered(
      await sigstore.signBundle(IMAGE, RELEASE, { timestamp: 'authority' }),
      (json: never) =>
        void ((json as { verificationMaterial: { tlogEntries: [] } }).verificationMaterial.tlogEntries = []),
    );
    expect(await refusal([found])).toMatch('expected 1 tlog entries, got 0');
  });

  test('is accepted with a provenance, and refused with the report of a scanner', async () => {
    const predicateType = 'https://cosign.sigstore.dev/attestation/vuln/v1';
    const provenance = await sigstore.signBundle(IMAGE, RELEASE, { predicateType: 'https://slsa.dev/provenance/v1' });
    expect(await refusal([provenance])).toBe(`verified by ${BY_RELEASE}`);
    expect(await refusal([await sigstore.signBundle(IMAGE, RELEASE, { predicateType })])).toMatch(
      `its statement ("${predicateType}") is not one that is accepted`,
    );
  });

  function bundleOf(content: object): FoundSignature {
    const json = {
      mediaType: 'application/vnd.dev.sigstore.bundle.v0.3+json',
      verificationMaterial: { publicKey: { hint: 'a key' }, tlogEntries: [] },
      ...content,
    };
    return { kind: 'bundle', name: 'a bundle', bytes: Buffer.from(JSON.stringify(json)) };
  }

  test('is accepted if a trusted key signed its statement or the manifest', async () => {
    const { publicKey, privateKey } = keyPair('P-384');
    const payloadType = 'application/vnd.in-toto+json';
    const payload = statementOf(IMAGE);
    const sig = sign('sha384', preAuthEncoding(payloadType, payload), privateKey).toString('base64');
    const signers = [{ key: pemOf(publicKey) }];
    const envelope = { payload: payload.toString('base64'), payloadType, signatures: [{ sig, keyid: '' }] };
    expect(await refusal([bundleOf({ dsseEnvelope: envelope })], signers)).toMatch(/^verified by key sha256:/);
    const message = (digest: Digest): object => ({
      messageSignature: {
        messageDigest: { algorithm: 'SHA2_256', digest: Buffer.from(digest.slice(7), 'hex').toString('base64') },
        signature: sign('sha384', MANIFEST, privateKey).toString('base64'),
      },
    });
    expect(await refusal([bundleOf(message(IMAGE))], signers)).toMatch(/^verified by key sha256:/);
    expect(await refusal([bundleOf(message(OTHER))], signers)).toMatch('it signs another digest');
    expect(await verifySignatures({ digest: IMAGE, found: [bundleOf(message(IMAGE))], signers })).toEqual({
      refused: expect.stringContaining('it signs the bytes of the manifest, which are not known'),
    });
  });

  const ENVELOPE = {
    payload: statementOf(IMAGE).toString('base64'),
    payloadType: 'application/vnd.in-toto+json',
    signatures: [{ sig: 'AAAA' }],
  };

  test.each([
    ['no content', {}, 'neither an envelope nor a message signature'],
    ['more than a mebibyte', { comment: 'x'.repeat(1024 * 1024) }, 'expected a bundle of at most 1048576 bytes, got'],
    [
      'both an envelope and a message signature',
      { dsseEnvelope: ENVELOPE, messageSignature: {} },
      'it has both an envelope and a message signature',
    ],
    [
      'an envelope without a signature',
      { dsseEnvelope: { ...ENVELOPE, signatures: [] } },
      'its envelope has no signature',
    ],
    [
      'a statement that is not from in-toto',
      { dsseEnvelope: { ...ENVELOPE, payload: Buffer.from('{"_type":"https://a.example"}').toString('base64') } },
      'it is not an in-toto statement (its type is "https://a.example")',
    ],
    [
      'a hash that is not supported',
      { messageSignature: { messageDigest: { algorithm: 'SHA2_384' } } },
      'its digest algorithm "SHA2_384" is not supported',
    ],
    ['an envelope of another type', { dsseEnvelope: { payloadType: 'text/plain' } }, 'its payload has the type'],
    [
      'too many log entries',
      { verificationMaterial: { tlogEntries: Array(9).fill({}) } },
      'expected at most 8 elements, got 9',
    ],
    [
      'too many hashes in a proof of inclusion',
      { verificationMaterial: { tlogEntries: [{ inclusionProof: { hashes: Array(65).fill('AAAA') } }] } },
      'tlogEntries[0].inclusionProof.hashes: expected at most 64 elements, got 65',
    ],
    [
      'a timestamp that is not base64',
      { verificationMaterial: { timestampVerificationData: { rfc3161Timestamps: [{ signedTimestamp: 'é' }] } } },
      'rfc3161Timestamps[0].signedTimestamp: must be base64',
    ],
    [
      'a chain without a certificate',
      { verificationMaterial: { x509CertificateChain: { certificates: [] } } },
      'x509CertificateChain: has no certificate',
    ],
  ])('is refused with %s', async (_, content, reason) => {
    const isWhole = 'verificationMaterial' in content;
    expect(await refusal([bundleOf(isWhole ? { dsseEnvelope: ENVELOPE, ...content } : content)])).toContain(reason);
  });
});

describe('a signature by a key', () => {
  const { publicKey: rsa, privateKey: rsaPrivate } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const { publicKey: ed, privateKey: edPrivate } = generateKeyPairSync('ed25519');
  const p256 = keyPair();
  const p384 = keyPair('P-384');

  test.each([
    ['P-256', p256.publicKey, p256.privateKey, 'sha256'],
    ['P-384', p384.publicKey, p384.privateKey, 'sha256'],
    ['P-384 and SHA-384', p384.publicKey, p384.privateKey, 'sha384'],
    ['RSA', rsa, rsaPrivate, 'sha256'],
    ['Ed25519', ed, edPrivate, null],
  ])('is accepted for %s, also if the manifest of the image is not known', async (_, publicKey, privateKey, hash) => {
    const found = [signByKey(IMAGE, privateKey, hash)];
    const signers = [{ key: pemOf(publicKey) }];
    expect(await verifySignatures({ digest: IMAGE, found, signers })).toEqual({
      verified: { by: expect.stringMatching(/^key sha256:[0-9a-f]{64}$/) },
    });
    expect(await refusal([signByKey(IMAGE, privateKey, hash)], [{ key: pemOf(keyPair().publicKey) }])).toMatch(
      /it is by a key that is not trusted \(expected key sha256:/,
    );
  });

  test('has the time of the log if the trusted root knows the log, and none otherwise', async () => {
    const signers = [{ key: pemOf(p256.publicKey) }];
    const found = await sigstore.logSimple(signByKey(IMAGE, p256.privateKey), p256.publicKey);
    const by = expect.stringMatching(/^key sha256:/);
    expect(await verify([found], signers)).toEqual({ verified: { by, at: sigstore.issuedAt.getTime() } });
    const { trustedRoot } = stranger;
    expect(await verifySignatures({ digest: IMAGE, found: [found], signers, trustedRoot })).toEqual({
      verified: { by },
    });
  });

  test('is refused if its payload signs another digest or has another type', async () => {
    const signers = [{ key: pemOf(p256.publicKey) }];
    expect(await refusal([signByKey(OTHER, p256.privateKey)], signers)).toMatch(`it signs another digest ("${OTHER}")`);
    const payload = simplePayload(IMAGE, 'a licence');
    const signature = sign('sha256', payload, p256.privateKey).toString('base64');
    const annotations = { 'dev.cosignproject.cosign/signature': signature };
    expect(await refusal([{ kind: 'simple-signing', name: 'x', payload, annotations }], signers)).toMatch(
      'it has the type "a licence"',
    );
  });

  test('does not count for the payload of another signature', async () => {
    const { annotations } = signByKey(OTHER, p256.privateKey);
    const swapped = { ...signByKey(IMAGE, p256.privateKey), annotations };
    expect(await refusal([swapped], [{ key: pemOf(p256.publicKey) }])).toMatch('it is by a key that is not trusted');
  });

  test.each([
    ['a text', 'it is not a public key in PEM'],
    ['-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n', 'it cannot be parsed'],
    [pemOf(generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey), 'at least 2048 bits'],
    [pemOf(generateKeyPairSync('ec', { namedCurve: 'secp256k1' }).publicKey), 'secp256k1 is not supported'],
    [p256.privateKey.export({ format: 'pem', type: 'pkcs8' }).toString(), 'it is not a public key in PEM'],
  ])('cannot be wanted with an unusable key: %#', async (key, reason) => {
    await expect(verify([], [{ key }])).rejects.toThrow(reason);
  });
});

describe('several signatures', () => {
  test('verify if one of them does', async () => {
    const identity = 'https://github.com/o/fork';
    const found = [
      await sigstore.signSimple(IMAGE, { ...RELEASE, identity }),
      await sigstore.signSimple(OTHER, RELEASE),
      await sigstore.signBundle(IMAGE, RELEASE),
    ];
    expect(await refusal(found)).toBe(`verified by ${BY_RELEASE}`);
  });

  test('have the earliest time that one of them proves', async () => {
    const found = [
      await sigstore.signSimple(IMAGE, RELEASE, { logAfter: 5 }),
      await sigstore.signSimple(IMAGE, RELEASE, { logAfter: 2 }),
      await sigstore.signSimple(IMAGE, RELEASE, { logAfter: 7 }),
    ];
    expect(await verify(found)).toEqual({
      verified: { by: BY_RELEASE, at: sigstore.issuedAt.getTime() + 2 * 60_000 },
    });
  });

  test('are checked up to a limit', async () => {
    const wrong: FoundSignature = { kind: 'bundle', name: 'x', bytes: Buffer.from('{}') };
    const many = Array<FoundSignature>(SIGNATURE_LIMITS.signatures).fill(wrong);
    expect(await refusal([...many, await sigstore.signBundle(IMAGE, RELEASE)])).toMatch(/; 61 more$/);
  });

  test('are missed with the wanted signers in the reason', async () => {
    expect(await refusal([])).toBe(`no signature was found (expected one by ${BY_RELEASE})`);
  });
});

describe('hostile signatures', () => {
  test('are refused for any change of one byte', async () => {
    const { bytes } = await sigstore.signBundle(IMAGE, RELEASE);
    // The base64 of a changed byte may decode to the same bytes only in its unused last bits.
    await fc.assert(
      fc.asyncProperty(fc.nat(bytes.length - 1), fc.integer({ min: 0, max: 255 }), async (at, value) => {
        const changed = Buffer.from(bytes);
        changed[at] = value;
        const result = await verify([{ kind: 'bundle', name: 'x', bytes: changed }]);
        if ('verified' in result) expect(result.verified.by).toBe(BY_RELEASE);
        else expect(result.refused).toMatch(/^signature "x": it/);
      }),
      { numRuns: 200 },
    );
  });

  test.each([
    ['a large payload', { payload: Buffer.alloc(SIGNATURE_LIMITS.payloadBytes + 1) }, 'at most 65536 bytes'],
    ['no signature', { annotations: {} }, 'no annotation dev.cosignproject.cosign/signature'],
    ['a certificate that is not one', { certificate: 'x' }, 'it cannot be read'],
    ['a signature that is not base64', { signature: 'é' }, 'signature: must be base64'],
    ['a large annotation', { certificate: 'x'.repeat(65_537) }, 'more than 65536 characters'],
    ['a log entry that is not JSON', { bundle: '{' }, 'it cannot be read'],
    ['a log entry without a body', { bundle: '{"Payload":{}}' }, 'body: is missing'],
  ])('are refused with %s', async (_, { annotations, payload, ...parts }: Record<string, unknown>, reason) => {
    const good = await sigstore.signSimple(IMAGE, RELEASE);
    const names: Record<string, string> = {
      certificate: 'dev.sigstore.cosign/certificate',
      signature: 'dev.cosignproject.cosign/signature',
      bundle: 'dev.sigstore.cosign/bundle',
    };
    const changed = Object.fromEntries(Object.entries(parts).map(([part, text]) => [names[part]!, text as string]));
    const found = {
      ...good,
      ...(payload === undefined ? {} : { payload: payload as Buffer }),
      annotations: annotations === undefined ? { ...good.annotations, ...changed } : {},
    };
    expect(await refusal([found])).toContain(reason);
  });
});

describe('a trusted root', () => {
  test.each([
    ['text', 'it is not JSON'],
    ['{"mediaType":"a","mediaType":"b"}', 'the key "mediaType" twice'],
    ['{"mediaType":"text/plain"}', 'its mediaType "text/plain" is unknown'],
    ['{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}', 'it has no certificate authority'],
    [
      '{"mediaType":"application/vnd.dev.sigstore.trustedroot.v0.2+json","certificateAuthorities":[{"certChain":{"certificates":[{"rawBytes":"AAAA"}]}}]}',
      'a key or certificate in it cannot be read',
    ],
  ])('that cannot be used is a failure of the input and not of the image: %s', async (text, reason) => {
    const found = [await sigstore.signBundle(IMAGE, RELEASE)];
    const check = { digest: IMAGE, found, signers: WANTED, trustedRoot: Buffer.from(text) };
    await expect(verifySignatures(check)).rejects.toMatchObject({
      code: 'invalid',
      detail: expect.stringContaining(reason),
    });
  });
});
