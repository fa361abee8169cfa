import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { Archive } from '../../../lib/archive/archive.ts';
import { ociLayout } from '../../../lib/archive/oci-layout.ts';
import { parseRepository } from '../../../lib/oci/reference.ts';
import { createSources } from '../../../lib/registry/sources.ts';
import type { Sources } from '../../../lib/registry/source.ts';
import { SIGNATURE_LIMITS } from '../../../lib/signatures/signature.ts';
import { type FetchedSignatures, fetchSignatures } from '../../../lib/sync/resolver/fetch-signatures.ts';
import { makeArtifact, makeImage } from '../../kit/images.ts';
import { MemoryStore } from '../../kit/memory-store.ts';
import { startRegistry, type TestRegistry } from '../../kit/registry.ts';
import { bundleReferrer, signatureManifest, signatureTag } from '../../kit/signatures.ts';
import { keyPair, RELEASE, signByKey, type Sigstore, startSigstore } from '../../kit/sigstore.ts';

const image = makeImage();
const { privateKey } = keyPair();

let sigstore: Sigstore;
let registry: TestRegistry;
let sources: Sources;

beforeAll(async () => {
  sigstore = await startSigstore();
});

beforeEach(async () => {
  registry = await startRegistry();
  sources = createSources({ sleep: () => Promise.resolve() });
  registry.push('app', image, '1');
});

afterEach(async () => {
  await sources.close();
  await registry.close();
});

async function fetched(): Promise<FetchedSignatures> {
  const source = sources.repository(parseRepository(`${registry.host}/app`));
  const { signal } = new AbortController();
  const archive = new Archive(new MemoryStore(), ociLayout);
  return fetchSignatures(await source.referrers(image.digest, { signal }), { source, archive, signal });
}

describe('the signatures of an image', () => {
  test('are found as referrers and under the tag of cosign, and other referrers are not read', async () => {
    const signed = signByKey(image.digest, privateKey);
    const bundle = await sigstore.signBundle(image.digest, RELEASE);
    registry.push('app', signatureManifest([signed]), signatureTag(image));
    const referrer = bundleReferrer(image, bundle);
    registry.push('app', referrer);
    const sbom = makeArtifact({ subject: image, artifactType: 'application/spdx+json' });
    registry.push('app', sbom);
    const { found, content, faults } = await fetched();
    expect(found).toHaveLength(2);
    expect(found).toContainEqual({ ...signed, payload: expect.anything(), name: signatureTag(image) });
    expect(found).toContainEqual({ kind: 'bundle', name: referrer.digest, bytes: expect.anything() });
    expect(content.size).toBe(4);
    expect(faults).toEqual([]);
    expect(registry.count({ method: 'GET', digest: sbom.digest })).toBe(0);
  });

  test('name a signature whose blob is missing or too large, and the others are read', async () => {
    const many = Buffer.alloc(SIGNATURE_LIMITS.bundleBytes + 1);
    const large = bundleReferrer(image, { kind: 'bundle', name: 'x', bytes: many });
    registry.push('app', large);
    const gone = bundleReferrer(image, { kind: 'bundle', name: 'x', bytes: Buffer.from('gone') });
    registry.push('app', gone);
    registry.removeBlob([...gone.blobs.keys()][1]!);
    registry.push('app', bundleReferrer(image, await sigstore.signBundle(image.digest, RELEASE)));
    const { found, faults } = await fetched();
    expect(found).toHaveLength(1);
    expect(faults).toHaveLength(2);
    expect(faults).toContainEqual(expect.stringContaining(`signature ${gone.digest}: it cannot be read`));
    expect(faults).toContainEqual(expect.stringMatching(`signature ${large.digest}: .*at most 1048576 bytes`));
  });

  test('are read up to a limit', async () => {
    const signed = signByKey(image.digest, privateKey);
    const many = Array<typeof signed>(SIGNATURE_LIMITS.signatures + 2).fill(signed);
    registry.push('app', signatureManifest(many), signatureTag(image));
    expect((await fetched()).found).toHaveLength(SIGNATURE_LIMITS.signatures);
  });

  test('are not judged while the registry has a temporary problem', async () => {
    registry.push('app', bundleReferrer(image, await sigstore.signBundle(image.digest, RELEASE)));
    registry.misbehave({ match: { kind: 'blob' }, do: { status: 503 } });
    await expect(fetched()).rejects.toMatchObject({ code: 'unavailable', remedy: 'retry' });
  });
});
