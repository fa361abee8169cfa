import { type Image, makeImage, makeLayer } from './images.ts';

/** One of many images: all share a base layer, every other one shares a second layer, and each has its own layer. */
export function sharedImage(index: number): Image {
  const base = makeLayer({ seed: 1, size: 200_000 });
  const shared = makeLayer({ seed: 2 + (index % 2), size: 100_000 });
  return makeImage({ layers: [base, shared, makeLayer({ seed: 100 + index, size: 50_000 })] });
}
