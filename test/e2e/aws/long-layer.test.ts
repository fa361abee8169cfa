import { expect, test } from 'vitest';
import { verifyArchive } from '../../../lib/upkeep/verify.ts';
import { dripping, generated } from '../../kit/content.ts';
import { generatedLayer, makeImage } from '../../kit/images.ts';
import { describeOnAws } from '../../kit/lambda/on-aws.ts';
import { startRegistry } from '../../kit/registry.ts';

const MiB = 1024 * 1024;

/** Nine parts of 8 MiB on S3; the last one takes about as long as the others, so that it does not fit in between. */
const SIZE = 72 * MiB - 12_345;

/** 3.2 s per part: four concurrent parts are stored before a function of 8 s stops, and the next four are not. */
const BYTES_PER_SECOND = 2.5 * MiB;

await describeOnAws('a layer that takes longer than a function may', ({ start }) => {
  // Each invocation stores a few parts and sends a continuation. Only bytes in flight are fetched twice.
  test('is stored over at least three invocations', async () => {
    await using registry = await startRegistry();
    const content = generated({ size: SIZE, seed: 1 });
    const layer = { ...(await generatedLayer(content)), content: dripping(content, BYTES_PER_SECOND) };
    const digest = registry.push('team/app', makeImage({ layers: [layer] }), 'large');
    const source = `${registry.host}/team/app`;
    const config = `version: 1\nmirrors:\n  - source: ${source}\n    tags: [large]\n`;
    await using stack = await start({ config, layerTimeoutMs: 8_000 });
    await stack.schedule('long');
    await stack.drained();

    const read = await stack.archive.tagIndex(source);
    expect(read?.index.byTag('large')?.digest).toBe(digest);
    const verified = await verifyArchive(stack.archive, { signal: AbortSignal.timeout(60_000), concurrency: 2 });
    expect(verified.problems).toEqual([]);
    const continuations = stack
      .batches('layer')
      .flat()
      .map((body) => (JSON.parse(body) as { continuation: number }).continuation);
    expect(continuations.slice(0, 3)).toEqual([0, 1, 2]);
    expect(new Set(continuations).size).toBe(continuations.length);
    // Every invocation stopped before its timeout.
    expect(stack.functions.layer.invocations.filter(({ outcome }) => 'error' in outcome)).toEqual([]);
    const sent = registry.requests.filter(({ kind }) => kind === 'blob').reduce((sum, { bytes }) => sum + bytes, 0);
    expect(sent).toBeLessThan(2.5 * SIZE);
  }, 120_000);
});
