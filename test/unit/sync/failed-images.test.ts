/** The end of an image whose layers fail, and the other images of its run. */
import { expect, test } from 'vitest';
import { makeImage, makeLayer } from '../../kit/images.ts';
import { MemoryStore } from '../../kit/memory-store.ts';
import { mirror } from '../../kit/mirror.ts';
import { startRegistry } from '../../kit/registry.ts';

const SHARED = makeLayer({ seed: 1_000 });
const LAYERS = Array.from({ length: 60 }, (_, seed) => makeLayer({ seed }));
const FAILING = makeImage({ layers: [...LAYERS, SHARED] });
const GOOD = makeImage({ layers: [SHARED, makeLayer({ seed: 1_001 })] });

test('a missing layer ends its image early, and an image that shares a layer is mirrored', async () => {
  await using registry = await startRegistry();
  registry.push('bad/image', FAILING, 'v1');
  registry.push('good/image', GOOD, 'v1');
  for (const { digest } of LAYERS) registry.removeBlob(digest);
  const references = ['bad/image:v1', 'good/image:v1'].map((name) => `${registry.host}/${name}`);
  const { outcomes } = await mirror({ store: new MemoryStore(), references });
  expect(outcomes.map(({ status, code }) => [status, code])).toEqual([
    ['failed', 'blob-unknown'],
    ['mirrored', undefined],
  ]);
  const asked = LAYERS.filter(({ digest }) => registry.count({ digest }) > 0);
  // Four layers are fetched concurrently.
  expect(asked.length).toBeLessThanOrEqual(8);
});
