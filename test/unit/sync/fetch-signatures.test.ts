import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { Archive } from '../../../lib/archive/archive.ts';
import { ociLayout } from '../../../lib/archive/oci-layout.ts';
import { parseRepository } from '../../../lib/oci/reference.ts';
import { createSources } from '../../../lib/registry/sources.ts';
import type { Sources } from '../../../lib/registry/source.ts';
import { SIGNATURE_LIMITS } from '../../../lib/signatures/signature.ts';
import { type FetchedSignature, fetchSignatures } from '../../../lib/sync/resolver/fetch-signatures.ts';
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

async function fetched(): Promise<{ readonly found: FetchedSignature[]; readonly faults: string[] }> {
  const source = sources.repository(parseRepository(`${registry.host}/app`));
  const { signal } = new AbortController();
  const archive = new Archive(new MemoryStore(), ociLayout);
  const faults: string[] = [];
  const referrers = await source.referrers(image.digest, { signal });
  const signatures = fetchSignatures(referrers, { source, archive, signal }, (clause) => faults.push(clause));
  return { found: await Array.fromAsync(signatures), faults };
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
    const { found, faults } = await fetched();
    expect(found).toHaveLength(2);
    const content = [expect.anything(), expect.anything()];
    expect(found).toContainEqual({ ...signed, payload: expect.anything(), name: signatureTag(image), content });
    expect(found).toContainEqual({ kind: 'bundle', name: referrer.digest, bytes: expect.anything(), content });
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

  test('are fetched one after another, and those in a manifest of more than 512 KiB not at all', async () => {
    const { signal } = new AbortController();
    const payload = { kind: 'bundle', name: 'x', bytes: Buffer.from('{}') } as const;
    for (const n of [1, 2])
      registry.push('app', bundleReferrer(image, { ...payload, bytes: Buffer.from(`{"n":${n}}`) }));
    const annotations = { '0': 'x'.repeat(SIGNATURE_LIMITS.manifestBytes) };
    registry.push(
      'app',
      signatureManifest([{ ...signByKey(image.digest, privateKey), annotations }]),
      signatureTag(image),
    );
    const source = sources.repository(parseRepository(`${registry.host}/app`));
    const archive = new Archive(new MemoryStore(), ociLayout);
    const referrers = await source.referrers(image.digest, { signal });
    const faults: string[] = [];
    const counts: number[] = [];
    for await (const _ of fetchSignatures(referrers, { source, archive, signal }, (clause) => faults.push(clause)))
      counts.push(registry.count({ kind: 'blob' }));
    expect(counts).toEqual([1, 2]);
    expect(faults).toEqual([expect.stringMatching(/at most 524288 bytes/)]);
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
