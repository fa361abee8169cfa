import { sign } from 'node:crypto';
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { Archive } from '../../../lib/archive/archive.ts';
import { ociLayout } from '../../../lib/archive/oci-layout.ts';
import { parseRepository } from '../../../lib/oci/reference.ts';
import { createSources } from '../../../lib/registry/sources.ts';
import type { Sources } from '../../../lib/registry/source.ts';
import type { Signer } from '../../../lib/policy/policy.ts';
import type { Verification } from '../../../lib/signatures/verify.ts';
import { verifyImage } from '../../../lib/sync/resolver/verify-image.ts';
import { hasContent } from '../../kit/has-content.ts';
import { makeImage } from '../../kit/images.ts';
import { MemoryStore } from '../../kit/memory-store.ts';
import { startRegistry, type TestRegistry } from '../../kit/registry.ts';
import { bundleReferrer, signatureManifest, signatureTag } from '../../kit/signatures.ts';
import { keyPair, pemOf, RELEASE, signByKey, type Sigstore, startSigstore } from '../../kit/sigstore.ts';

const image = makeImage();
const { publicKey, privateKey } = keyPair();

let sigstore: Sigstore;
let registry: TestRegistry;
let sources: Sources;
let archive: Archive;

beforeAll(async () => {
  sigstore = await startSigstore();
});

beforeEach(async () => {
  registry = await startRegistry();
  sources = createSources({ sleep: () => Promise.resolve() });
  archive = new Archive(new MemoryStore(), ociLayout);
  registry.push('app', image, '1');
});

afterEach(async () => {
  await sources.close();
  await registry.close();
});

async function verified(signers: readonly Signer[]): Promise<Verification> {
  const source = sources.repository(parseRepository(`${registry.host}/app`));
  const { signal } = new AbortController();
  const { trustedRoot } = sigstore;
  const referrers = await source.referrers(image.digest, { signal });
  return verifyImage({ digest: image.digest, referrers }, { source, archive, signal, signers, trustedRoot });
}

describe('the verification of an image', () => {
  test('accepts a referrer by the wanted identity, stores it, and fetches nothing of the image', async () => {
    const referrer = bundleReferrer(image, await sigstore.signBundle(image.digest, RELEASE));
    registry.push('app', referrer);
    expect(await verified([RELEASE])).toMatchObject({ verified: { at: sigstore.issuedAt.getTime() } });
    expect(await hasContent(archive, referrer.digest)).toBe(true);
    expect(registry.count({ kind: 'manifest', digest: image.digest })).toBe(0);
    for (const { digest } of image.layers) expect(registry.count({ digest })).toBe(0);
  });

  test('stores nothing of a signature that is refused', async () => {
    const referrer = bundleReferrer(image, await sigstore.signBundle(image.digest, RELEASE));
    registry.push('app', referrer);
    expect(await verified([{ ...RELEASE, issuer: 'https://example.com' }])).toHaveProperty('refused');
    expect(await hasContent(archive, referrer.digest)).toBe(false);
  });

  test('names a signature that cannot be read, since it may be the wanted one', async () => {
    const manifest = signatureManifest([signByKey(image.digest, privateKey)]);
    registry.push('app', manifest, signatureTag(image));
    for (const [digest] of manifest.blobs) registry.removeBlob(digest);
    expect(await verified([{ key: pemOf(publicKey) }])).toEqual({
      refused: expect.stringMatching(
        /^no signature was found \(expected one by key sha256:[0-9a-f]{64}\); signature .* cannot be read/,
      ),
    });
  });

  test('fetches the manifest if a signature is of its bytes', async () => {
    const message = {
      mediaType: 'application/vnd.dev.sigstore.bundle.v0.3+json',
      verificationMaterial: { publicKey: { hint: '' } },
      messageSignature: {
        messageDigest: { algorithm: 'SHA2_256', digest: Buffer.from(image.digest.slice(7), 'hex').toString('base64') },
        signature: sign('sha256', image.manifest, privateKey).toString('base64'),
      },
    };
    const bytes = Buffer.from(JSON.stringify(message));
    registry.push('app', bundleReferrer(image, { kind: 'bundle', name: '', bytes }));
    expect(await verified([{ key: pemOf(publicKey) }])).toHaveProperty('verified');
    expect(registry.count({ kind: 'manifest', digest: image.digest })).toBe(1);
  });
});
