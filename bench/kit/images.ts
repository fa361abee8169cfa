/** The images that the jobs copy. */
import { makeImage, makeLayer, type Image } from '../../test/kit/images.ts';
import type { DockerRegistry } from './docker-registry.ts';
import type { Images } from './contestants.ts';
import { type LayerPlan, type RealLayer, realLayers } from './layers.ts';

/** One layer of about 300 MB. */
export async function pushLayer(registry: DockerRegistry): Promise<Images> {
  const layers = await realLayers([{ name: 'large', megabytes: 840 }]);
  await registry.push('bench/layer', makeImage({ layers }), 'latest');
  return { repository: 'bench/layer', tags: ['latest'], layers };
}

const APPS = Array.from({ length: 10 }, (_, index) => `app-${index}`);
const BASE: readonly LayerPlan[] = [
  { name: 'base-system', megabytes: 200 },
  { name: 'base-runtime', megabytes: 120 },
  { name: 'base-tools', megabytes: 60 },
];

/** Ten images that share a base, a gigabyte unpacked. */
export async function pushSet(registry: DockerRegistry): Promise<Images> {
  const plans = APPS.map((app): LayerPlan[] => [
    { name: `${app}-dependencies`, megabytes: 45 },
    { name: app, megabytes: 17 },
  ]);
  const base = await realLayers(BASE);
  const layers: RealLayer[] = [...base];
  for (const [index, app] of APPS.entries()) {
    const own = await realLayers(plans[index] ?? []);
    await registry.push('bench/set', makeImage({ layers: [...base, ...own] }), app);
    layers.push(...own);
  }
  return { repository: 'bench/set', tags: APPS, layers };
}

/** Images with one tag each: a small layer of their own on a layer that all share. */
export function* tagged(count: number): Generator<readonly [tag: string, image: Image]> {
  const base = makeLayer({ size: 64 * 1024, seed: 0 });
  for (let index = 1; index <= count; index += 1)
    yield [`v${index}`, makeImage({ layers: [base, makeLayer({ size: 3000, seed: index })] })];
}

const SMALL_LAYERS = 40;

/** Five images with many layers of 2 MB each, which the main thread inflates. */
export function* manyLayers(): Generator<readonly [tag: string, image: Image]> {
  for (let index = 0; index < 5; index += 1) {
    const seeds = Array.from({ length: SMALL_LAYERS }, (_, layer) => index * SMALL_LAYERS + layer);
    const layers = seeds.map((seed) => makeLayer({ size: 2e6, seed, level: 1 }));
    yield [`many-${index}`, makeImage({ layers })];
  }
}
