import { afterAll, beforeAll, expect, test } from 'vitest';
import { describeWith, run } from '../kit/real.ts';
import { INDEX, LAYERS, type Mirrored, mirrorImages, serving } from '../kit/serving.ts';

let mirrored: Mirrored;

beforeAll(async () => {
  mirrored = await mirrorImages();
});

afterAll(async () => {
  await mirrored[Symbol.asyncDispose]();
});

describeWith(['conformance'], 'the conformance program of the OCI distribution spec', () => {
  // It ends with 0 also where it has tested nothing, so its counts decide.
  test('passes its read-only tests', async () => {
    await using served = await serving(mirrored.archive);
    const [image] = INDEX.children;
    const output = await run('conformance', [], {
      OCI_REGISTRY: served.host,
      OCI_TLS: 'disabled',
      OCI_REPO1: mirrored.name,
      OCI_API_PUSH: 'false',
      OCI_RO_DATA_TAGS: 'index',
      OCI_RO_DATA_MANIFESTS: `${INDEX.digest} ${image!.digest}`,
      OCI_RO_DATA_BLOBS: LAYERS[0]!.digest,
      OCI_RO_DATA_REFERRERS: INDEX.digest,
      OCI_FILTER_TEST: 'OCI Conformance Test/read-only',
      OCI_RESULTS_DIR: mirrored.folder.join('conformance'),
    });
    const count = (name: string): number =>
      Number(new RegExp(`^ *${name}\\.+: +(\\d+)$`, 'm').exec(output)?.[1] ?? NaN);
    expect([count('FAIL'), count('Error')]).toEqual([0, 0]);
    expect(count('Pass')).toBeGreaterThanOrEqual(10);
  });
});
