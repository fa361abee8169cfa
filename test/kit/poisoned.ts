import type { FailureCode } from '../../lib/core/failure.ts';
import {
  type Image,
  type ImageOptions,
  layerOf,
  makeImage,
  makeIndex,
  makeLayer,
  type Pushable,
  pushable,
} from './images.ts';
import { randomBytes } from './content.ts';
import type { TestRegistry } from './registry.ts';

/** An image that a mirror must refuse. */
export interface Poisoned {
  /** The problem, for the title of a test. */
  readonly name: string;
  /** The code of the expected failure. */
  readonly code: FailureCode;
  push(registry: TestRegistry, repository: string, tag: string): void;
}

/** Every invalid image that the mirror must detect; all other parts of each are valid. */
export function poisoned(): readonly Poisoned[] {
  return [
    poison('wrong diffID', 'diffid-mismatch', ([base]) => ({ diffIds: [base.diffId, makeLayer({ seed: 99 }).diffId] })),
    poison('swapped diffIDs', 'diffid-mismatch', ([base, top]) => ({ diffIds: [top.diffId, base.diffId] })),
    poison('fewer diffIDs than layers', 'layers-mismatch', ([base]) => ({ diffIds: [base.diffId] })),
    poison('more diffIDs than layers', 'layers-mismatch', ([base, top]) => ({
      diffIds: [base.diffId, top.diffId, top.diffId],
    })),
    poison('a layer longer than its descriptor', 'size-mismatch', () => ({ descriptors: topSize(-1) })),
    poison('a layer shorter than its descriptor', 'size-mismatch', () => ({ descriptors: topSize(1) })),
    poison('a flipped byte', 'digest-mismatch', undefined, (registry, [, top]) => {
      const flipped = Buffer.from(top.blob);
      const middle = flipped.length >> 1;
      flipped[middle] = (flipped[middle] ?? 0) ^ 0x10;
      registry.pushBlob(top.digest, flipped);
    }),
    poison('a missing blob', 'blob-unknown', undefined, (registry, [, top]) => {
      registry.removeBlob(top.digest);
    }),
    { name: 'declared gzip, and cut short', code: 'not-as-declared', push: pushing(() => cutShort()) },
    {
      name: 'declared gzip, and neither compressed nor a tar',
      code: 'not-as-declared',
      push: pushing(() => noLayer()),
    },
    { name: 'a manifest over 4 MiB', code: 'too-large', push: pushing(() => oversized()) },
    { name: 'an error page for a manifest', code: 'invalid', push: pushing(() => errorPage()) },
    { name: 'an index nested too deep', code: 'too-deep', push: pushing(() => nested(20)) },
  ];
}

type TwoLayers = readonly [ReturnType<typeof makeLayer>, ReturnType<typeof makeLayer>];

/**
 * An image of two layers, the upper one unique, with wrong values (`lies`) in its documents, or with a change to the registry
 * after the push.
 */
function poison(
  name: string,
  code: FailureCode,
  lies: ((layers: TwoLayers) => ImageOptions['overrides']) | undefined,
  afterwards?: (registry: TestRegistry, layers: TwoLayers) => void,
): Poisoned {
  return {
    name,
    code,
    push: (registry, repository, tag) => {
      // Each layer contains the name of its kind, so that a blob that one image lacks is not provided by another.
      const file = (layer: string) => ({
        path: layer,
        content: Buffer.concat([Buffer.from(name), randomBytes(5000, 11)]),
      });
      const layers = [makeLayer({ files: [file('base')] }), makeLayer({ files: [file('top')] })] as const;
      const overrides = lies?.(layers);
      registry.push(repository, makeImage(overrides === undefined ? { layers } : { layers, overrides }), tag);
      afterwards?.(registry, layers);
    },
  };
}

function topSize(change: number): NonNullable<NonNullable<ImageOptions['overrides']>['descriptors']> {
  return (layers) => layers.map((layer, index) => (index === 1 ? { ...layer, size: layer.size + change } : layer));
}

function pushing(make: () => Pushable): Poisoned['push'] {
  return (registry, repository, tag) => void registry.push(repository, make(), tag);
}

/** A gzip stream without its end; its diffID is that of the complete stream. */
function cutShort(): Image {
  const whole = makeLayer({ seed: 12 });
  const cut = layerOf(whole.blob.subarray(0, -4), Buffer.alloc(0), 'gzip');
  return makeImage({ layers: [makeLayer({ seed: 13 }), { ...cut, diffId: whole.diffId }] });
}

/** Bytes that are not a layer, with the right diffID for them. */
function noLayer(): Image {
  const bytes = randomBytes(4000, 12);
  return makeImage({ layers: [makeLayer({ seed: 13 }), layerOf(bytes, bytes, 'gzip')] });
}

/** Valid JSON and a valid image, longer than a registry must accept (OCI distribution spec, "Pushing Manifests"). */
function oversized(): Image {
  return makeImage({ overrides: { manifest: { annotations: { padding: 'x'.repeat(4 * 1024 * 1024) } } } });
}

function nested(depth: number): Pushable {
  let root: Pushable = makeImage({ layers: [makeLayer({ seed: 14 })] });
  for (let level = 0; level < depth; level += 1) root = makeIndex([root]);
  return root;
}

/** A manifest that is not JSON, like an error page of a proxy with status 200. */
function errorPage(): Pushable {
  return pushable(Buffer.from('<html><h1>It works!</h1></html>'), 'application/vnd.oci.image.manifest.v1+json');
}
