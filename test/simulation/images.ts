/** The images that registries have: small, with shared layers, and layers of several parts. */
import { makeArtifact, makeImage, makeIndex, makeLayer, type Pushable } from '../kit/images.ts';

/** Plain tar archives: inflating takes a thread, and threads do not repeat the same order. */
const layers = [1_500, 3_000, 200, 4_500, 600, 2_500].map((size, index) =>
  makeLayer({ seed: index + 1, files: [{ path: 'f', content: Buffer.alloc(size, index + 1) }], compression: 'none' }),
);

function imageOf(architecture: string, ...of: readonly number[]): Pushable {
  return makeImage({ layers: of.map((at) => layers[at]!), platform: { os: 'linux', architecture } });
}

const [one, two, three] = [imageOf('amd64', 0, 1), imageOf('amd64', 0, 3), imageOf('arm64', 0, 1, 4)];

export const IMAGES: readonly Pushable[] = [
  one,
  two,
  makeIndex([one, three]),
  makeIndex([two, three]),
  imageOf('amd64', 2),
  makeIndex([makeIndex([one, three]), imageOf('s390x', 5)]),
  makeArtifact({ blobs: [Buffer.from('a thing'), Buffer.alloc(2_000, 7)] }),
  imageOf('amd64', 5, 2, 4),
];
