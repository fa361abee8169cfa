import { expect, test } from 'vitest';
import { conformance } from '../kit/conformance.ts';
import { describeWith } from '../kit/real.ts';
import { INDEX, mirrorImages, serving } from '../kit/serving.ts';

describeWith(['conformance'], 'the conformance program of the OCI distribution spec', () => {
  test('passes its read-only tests', async () => {
    await using mirrored = await mirrorImages(new Map([['index', INDEX]]));
    await using served = await serving(mirrored.archive);
    const results = mirrored.folder.join('conformance');
    const { failed, passed } = await conformance({ host: served.host, name: mirrored.name, results });
    expect(failed).toBe(0);
    expect(passed).toBeGreaterThanOrEqual(10);
  });
});
