import type { Archive } from '../../lib/archive/archive.ts';
import { makeImage, makeLayer } from './images.ts';
import type { TestRegistry } from './registry.ts';

/** Upstream tags of different images that the archive's tag index has already. */
export async function knownTags(registry: TestRegistry, archive: Archive, path: string, count: number): Promise<void> {
  const layers = [makeLayer()];
  const changes = Array.from({ length: count }, (_, index) => {
    const tag = `v${index}`;
    const image = makeImage({ layers, overrides: { manifest: { annotations: { tag } } } });
    registry.push(path, image, tag);
    // All checks for referrers are done.
    const checked = Date.now();
    return { tag, descriptor: image.descriptor, observed: 1_000_000, platforms: 'all' as const, checked };
  });
  await archive.updateTags(`${registry.host}/${path}`, changes);
}
