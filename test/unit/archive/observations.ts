/** Observations for tests of the tag index. */
import fc from 'fast-check';
import { type TagChange, TagIndex } from '../../../lib/archive/tag-index/tag-index.ts';
import { digestOf, type Digest } from '../../../lib/oci/digest.ts';
import { parsePlatform, type Platform } from '../../../lib/oci/platform.ts';

export const MEDIA_TYPE = 'application/vnd.oci.image.manifest.v1+json';
export const AMD64 = parsePlatform('linux/amd64');
export const ARM64 = parsePlatform('linux/arm64');
export const WINDOWS = parsePlatform('windows(10.0.20348)/amd64');

export function digest(name: string): Digest {
  return digestOf(Buffer.from(name));
}

export function saw(
  tag: string | undefined,
  image: string,
  observed: number,
  platforms: TagChange['platforms'] = 'all',
  foreignLayers?: 'skip',
): TagChange {
  const descriptor = { mediaType: MEDIA_TYPE, digest: digest(image), size: image.length };
  const skipping = foreignLayers === undefined ? {} : { foreignLayers };
  return { descriptor, observed, platforms, ...skipping, ...(tag === undefined ? {} : { tag }) };
}

export function after(...changes: readonly TagChange[]): TagIndex {
  return TagIndex.empty().apply(changes).index;
}

/** Observations of two tags, and of images without a tag: four images, each at an instant of its own. */
export function history(): fc.Arbitrary<TagChange[]> {
  const seen = fc.record({
    tag: fc.constantFrom('v1', 'v2', undefined),
    image: fc.constantFrom('a', 'b', 'c', 'd'),
    observed: fc.integer({ min: 1, max: 10_000 }),
    platforms: fc.oneof(fc.constant('all' as const), fc.subarray<Platform>([AMD64, ARM64, WINDOWS], { minLength: 1 })),
    foreignLayers: fc.constantFrom('skip' as const, undefined),
  });
  return fc
    .uniqueArray(seen, { selector: ({ observed }) => observed, maxLength: 12 })
    .map((all) =>
      all.map(({ tag, image, observed, platforms, foreignLayers }) =>
        saw(tag, image, observed, platforms, foreignLayers),
      ),
    );
}
