import fc from 'fast-check';
import { type Digest, digestOf, toDigest } from '../../../lib/oci/digest.ts';
import type { FinalizeMessage, Image, Message, Order } from '../../../lib/queue/messages.ts';
import { finalizeMessage } from '../../../lib/queue/outgoing.ts';
import type { Outgoing } from '../../../lib/queue/queue.ts';

const MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
export const LAYER = 'application/vnd.oci.image.layer.v1.tar+gzip';

/** The digest of a name. */
export function digestFor(name: string): Digest {
  return digestOf(Buffer.from(name));
}

export const ORDER: Order = {
  run: 'run-1',
  source: 'docker.io/library/alpine',
  repository: 'docker.io/library/alpine',
  platforms: 'all',
};

export const IMAGE: Image = {
  digest: digestFor('image'),
  mediaType: MANIFEST,
  size: 1000,
  tag: '3.20',
  observed: 5000,
};

/** A finalize message with this tag, in any group. */
export function tagged(tag: string, group: string): Outgoing<FinalizeMessage> {
  return { ...finalizeMessage(ORDER, { ...IMAGE, tag }, 'resolver'), group };
}

const digest = fc.oneof(
  fc.stringMatching(/^[0-9a-f]{64}$/).map((hex) => toDigest('sha256', hex)),
  fc.stringMatching(/^[0-9a-f]{128}$/).map((hex) => toDigest('sha512', hex)),
);

const tag = fc.stringMatching(/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/);
const repository = fc
  .tuple(
    fc.constantFrom('quay.io', 'localhost:5000', '[::1]:5000', 'registry.example.com'),
    fc.array(fc.stringMatching(/^[a-z0-9]{1,20}(-[a-z0-9]{1,20})?$/), { minLength: 1, maxLength: 4 }),
  )
  .map(([host, path]) => [host, ...path].join('/'));
const name = fc.stringMatching(/^[a-z0-9]{1,12}$/);
const anyText = fc.string({ unit: 'binary', maxLength: 40 });
const mediaType = fc.stringMatching(/^[a-z]{1,20}\/[a-z][a-z0-9.+-]{0,40}$/);
const count = fc.maxSafeNat();

/** Any time up to now, in milliseconds since the epoch. */
const time = fc.nat(Date.now());

function shape<T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }, required: (keyof T)[]): fc.Arbitrary<T> {
  return fc.record(model, { requiredKeys: required, noNullPrototype: true });
}

const platform = shape(
  { os: name, architecture: name, variant: name, osVersion: anyText, osFeatures: fc.array(anyText, { maxLength: 3 }) },
  ['os', 'architecture'],
);

const order = {
  version: fc.constant(1 as const),
  run: fc.stringMatching(/^[A-Za-z0-9-]{1,128}$/),
  source: repository,
  repository,
  platforms: fc.oneof(fc.constant('all' as const), fc.array(platform, { minLength: 1, maxLength: 3 })),
};

/** An order whose policy may leave out layers. */
const scoped = <T extends object>(message: fc.Arbitrary<T>): fc.Arbitrary<T> =>
  fc.tuple(message, fc.boolean(), fc.boolean()).map(([one, skip, strict]) => ({
    ...one,
    ...(skip ? { foreignLayers: 'skip' as const } : {}),
    ...(strict ? { strictMediaTypes: true as const } : {}),
  }));

const wanted = fc
  .record({ tag, digest }, { requiredKeys: [], noNullPrototype: true })
  .filter((image) => Object.keys(image).length > 0);

const image = shape(
  {
    digest,
    mediaType,
    size: count,
    tag,
    asked: wanted,
    note: anyText,
    notes: fc.array(anyText, { maxLength: 3 }),
    observed: time,
    largest: digest,
  },
  ['digest', 'mediaType', 'size', 'observed'],
);

const failure = fc.record({ code: name, reason: anyText }, { noNullPrototype: true });

/** Messages of every kind. */
export const anyMessage: fc.Arbitrary<Message> = scoped(
  fc.oneof<fc.Arbitrary<Message>[]>(
    shape(
      {
        ...order,
        type: fc.constant('resolve' as const),
        next: fc.stringMatching(/^[0-9a-f]{64}$/),
        what: fc.oneof(
          fc.record({ kind: fc.constant('list' as const) }, { noNullPrototype: true }),
          fc.record(
            {
              kind: fc.constant('images' as const),
              images: fc.array(wanted, { minLength: 1, maxLength: 5 }),
            },
            { noNullPrototype: true },
          ),
        ),
      },
      [...(Object.keys(order) as (keyof typeof order)[]), 'type', 'what'],
    ),
    shape(
      {
        ...order,
        type: fc.constant('layer' as const),
        image,
        blob: shape(
          {
            digest,
            mediaType,
            size: count,
            urls: fc.array(anyText, { maxLength: 2 }),
            diffIds: fc.subarray(['sha256', 'sha512'] as const),
          },
          ['digest', 'mediaType'],
        ),
        look: fc.constantFrom('receipt' as const, 'everything' as const),
        continuation: count,
        stalled: count,
      },
      ['version', 'run', 'source', 'repository', 'platforms', 'type', 'image', 'blob', 'look', 'continuation'],
    ),
    shape({ ...order, type: fc.constant('finalize' as const), image, failure }, [
      'version',
      'run',
      'source',
      'repository',
      'platforms',
      'type',
      'image',
    ]),
    fc.record(
      {
        ...order,
        type: fc.constant('finalize' as const),
        image: fc.oneof(wanted, fc.constant({})),
        failure,
      },
      { noNullPrototype: true },
    ),
  ),
);
