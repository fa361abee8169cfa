import { type Image, makeImage, makeLayer } from './images.ts';

/** Of many images, one: all share a base layer, every other one a second, and each has one of its own. */
export function sharedImage(index: number): Image {
  const base = makeLayer({ seed: 1, size: 200_000 });
  const shared = makeLayer({ seed: 2 + (index % 2), size: 100_000 });
  return makeImage({ layers: [base, shared, makeLayer({ seed: 100 + index, size: 50_000 })] });
}
