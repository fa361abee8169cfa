import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { deduplicationId, finalizeGroup, layerGroup, MAX_ID_LENGTH, RESOLVE_LANES } from '../../../lib/queue/lanes.ts';
import type { LayerMessage, ResolveMessage } from '../../../lib/queue/messages.ts';
import { continuationOf, finalizeMessage, layerMessage, resolveMessage } from '../../../lib/queue/outgoing.ts';
import { prepare } from '../../../lib/queue/prepare.ts';
import { digestFor, IMAGE, LAYER, ORDER } from './samples.ts';

const LANES = 8;
const BLOB: LayerMessage['blob'] = { digest: digestFor('layer'), mediaType: LAYER, size: 10 };
const OPTIONS = { lanes: LANES, look: 'receipt' } as const;

function slice(...tags: string[]): ResolveMessage['what'] {
  return { kind: 'images', images: tags.map((tag) => ({ tag })) };
}

describe('groups', () => {
  test('a blob has one lane per registry, whatever repository it belongs to', () => {
    const group = layerGroup('docker.io/library/alpine', BLOB.digest, LANES);
    expect(group).toMatch(/^docker\.io#[0-7]$/);
    expect(layerGroup('docker.io/other/image', BLOB.digest, LANES)).toBe(group);
    expect(layerGroup('localhost:5000/alpine', BLOB.digest, 1)).toBe('localhost:5000#0');
  });

  test('blobs spread evenly over exactly the lanes of a host', () => {
    const uses = new Map<string, number>();
    for (let n = 0; n < 1000; n += 1) {
      const group = layerGroup(ORDER.source, digestFor(`blob ${n}`), LANES);
      uses.set(group, (uses.get(group) ?? 0) + 1);
    }
    expect(uses.size).toBe(LANES);
    expect(Math.min(...uses.values())).toBeGreaterThan(1000 / LANES / 2);
  });

  test('the slices of all repositories of a host spread over its resolve lanes', () => {
    const groups = new Set<string>();
    for (let n = 0; n < 50; n += 1) {
      groups.add(resolveMessage(ORDER, slice(`tag-${n}`)).group);
      groups.add(resolveMessage({ ...ORDER, repository: `docker.io/library/r${n}` }, { kind: 'list' }).group);
    }
    expect([...groups].toSorted()).toEqual(Array.from({ length: RESOLVE_LANES }, (_, n) => `docker.io#${n}`));
  });

  test('long names become different group ids that SQS accepts', () => {
    const long = `registry.example.com/${'a'.repeat(200)}`;
    const groups = [long, `${long}b`, `${long}c`].map(finalizeGroup);
    expect(new Set(groups).size).toBe(3);
    for (const group of groups) expect(group).toHaveLength(MAX_ID_LENGTH);

    const host = `${'a'.repeat(60)}.${'b'.repeat(60)}.${'c'.repeat(60)}.example.com`;
    const lane = layerGroup(`${host}/x`, BLOB.digest, 1_000_000);
    expect(lane.length).toBeLessThanOrEqual(MAX_ID_LENGTH);
    expect(lane).toMatch(/^a{40}.*~[0-9a-f]{64}#\d+$/);
    expect(finalizeGroup('docker.io/library/alpine')).toBe('docker.io/library/alpine');
  });

  test('every message of the helpers is accepted by a queue', () => {
    for (const outgoing of [
      resolveMessage(ORDER, { kind: 'list' }),
      layerMessage(ORDER, IMAGE, BLOB, OPTIONS),
      finalizeMessage(ORDER, IMAGE, BLOB.digest),
      finalizeMessage(ORDER, { tag: '3.20' }, 'resolver', { code: 'denied', reason: '<html>'.repeat(100_000) }),
    ])
      expect(() => prepare(outgoing.message.type, outgoing)).not.toThrow();
  });

  test('a host without lanes is an internal error', () => {
    expect(() => layerGroup(ORDER.source, BLOB.digest, 0)).toThrow(RangeError);
    expect(() => layerGroup(ORDER.source, BLOB.digest, Number.NaN)).toThrow(RangeError);
  });
});

describe('deduplication', () => {
  const id = (outgoing: { deduplicationId: string }): string => outgoing.deduplicationId;

  test('a message of a push has the same id without the name of the next one', () => {
    const { message } = resolveMessage(ORDER, { kind: 'list' });
    expect(deduplicationId({ ...message, next: 'a'.repeat(64) })).toBe(deduplicationId(message));
  });

  test('finalize messages of two layers have different ids', () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), (one, other) => {
        fc.pre(one !== other);
        expect(id(finalizeMessage(ORDER, IMAGE, digestFor(one)))).not.toBe(
          id(finalizeMessage(ORDER, IMAGE, digestFor(other))),
        );
      }),
    );
    expect(id(finalizeMessage(ORDER, IMAGE, 'resolver'))).not.toBe(id(finalizeMessage(ORDER, IMAGE, BLOB.digest)));
  });

  test('a repeated delivery to the resolver sends the same ids', () => {
    const later = { ...IMAGE, observed: IMAGE.observed + 60_000 };
    expect(id(resolveMessage({ ...ORDER }, slice('a', 'b')))).toBe(id(resolveMessage(ORDER, slice('a', 'b'))));
    expect(id(layerMessage(ORDER, later, BLOB, { lanes: LANES, look: 'everything' }))).toBe(
      id(layerMessage(ORDER, IMAGE, BLOB, OPTIONS)),
    );
    expect(id(finalizeMessage(ORDER, later, 'resolver'))).toBe(id(finalizeMessage(ORDER, IMAGE, 'resolver')));
  });

  // Two releases send the same messages during a rolling update.
  test('the id of a message is the same in every release', () => {
    expect(id(resolveMessage(ORDER, slice('a', 'b')))).toBe(
      '516a22716d8e2e7b25550a96fee46243ae39145a474fdbb5dcc96cd17718a35f',
    );
    expect(id(layerMessage(ORDER, IMAGE, BLOB, OPTIONS))).toBe(
      '6bab050140b5651ad1ddd0992d246354cd32089b22d7c5e5960724f28374c6e8',
    );
    expect(id(finalizeMessage(ORDER, IMAGE, 'resolver'))).toBe(
      '6b0c16767a58899a706fee02e2c9c6cf3447f455a7e7d5ac13886cd4215428e3',
    );
  });

  test('the id does not depend on the order of keys', () => {
    const turned = Object.fromEntries(Object.entries(BLOB).toReversed()) as unknown as typeof BLOB;
    expect(id(layerMessage(ORDER, IMAGE, turned, OPTIONS))).toBe(id(layerMessage(ORDER, IMAGE, BLOB, OPTIONS)));
  });

  test('each continuation has its own id, and its repetition has the same id', () => {
    const first = layerMessage(ORDER, IMAGE, BLOB, OPTIONS);
    const second = continuationOf(first.message, LANES);
    const third = continuationOf(second.message, LANES);
    expect(new Set([first, second, third].map(id)).size).toBe(3);
    expect(second.message).toMatchObject({ continuation: 1, look: 'everything' });
    expect(third.message.continuation).toBe(2);
    expect(id(continuationOf(first.message, LANES))).toBe(id(second));
    expect(second.group).toBe(first.group);
  });

  // The first delivery stores a part and is killed after its send. The second delivery finds no new part to store.
  test('a continuation has the same id for any count of stalled continuations', () => {
    const { message } = layerMessage(ORDER, IMAGE, BLOB, OPTIONS);
    expect(id(continuationOf(message, LANES, 1))).toBe(id(continuationOf(message, LANES)));
    expect(continuationOf(message, LANES, 1).message).toMatchObject({ continuation: 1, stalled: 1 });
  });

  test('a continuation after progress leaves out the count of stalled continuations', () => {
    const { message } = layerMessage(ORDER, IMAGE, BLOB, OPTIONS);
    const stalled = continuationOf(message, LANES, 1).message;
    expect(continuationOf(stalled, LANES).message).toEqual({ ...message, look: 'everything', continuation: 2 });
  });

  test.each([
    ['run', { ...ORDER, run: 'run-2' }, IMAGE, BLOB],
    ['destination', { ...ORDER, repository: 'docker.io/other/alpine' }, IMAGE, BLOB],
    ['platforms', { ...ORDER, platforms: [{ os: 'linux', architecture: 'arm64' }] }, IMAGE, BLOB],
    ['tag of the image', ORDER, { ...IMAGE, tag: 'latest' }, BLOB],
    ['image with the same layer', ORDER, { ...IMAGE, digest: digestFor('other image') }, BLOB],
    ['layer of the image', ORDER, IMAGE, { ...BLOB, digest: digestFor('other layer') }],
  ])('another %s gives another id', (_what, order, image, blob) => {
    expect(id(layerMessage(order, image, blob, OPTIONS))).not.toBe(id(layerMessage(ORDER, IMAGE, BLOB, OPTIONS)));
    expect(id(finalizeMessage(order, image, blob.digest))).not.toBe(id(finalizeMessage(ORDER, IMAGE, BLOB.digest)));
  });

  // A repeated delivery to the resolver may fail where the first one succeeded, and its failure must be recorded.
  test('a failure and a success of an image have different ids', () => {
    const denied = finalizeMessage(ORDER, IMAGE, 'resolver', { code: 'denied', reason: 'no' });
    expect(id(denied)).not.toBe(id(finalizeMessage(ORDER, IMAGE, 'resolver')));
    expect(id(denied)).toBe(id(finalizeMessage(ORDER, IMAGE, 'resolver', { code: 'denied', reason: 'no, at 12:01' })));
  });

  test('a new message takes only the order from the message that causes it', () => {
    const layer = layerMessage(ORDER, IMAGE, BLOB, OPTIONS).message;
    expect(finalizeMessage(layer, layer.image, BLOB.digest).message).toEqual({
      version: 1,
      type: 'finalize',
      ...ORDER,
      image: IMAGE,
    });
  });
});

describe('prepare', () => {
  test.each([
    ['a group with a space', { group: 'a b' }, /a b is not an id that SQS accepts/],
    ['an empty group', { group: '' }, /is not an id/],
    ['a long group', { group: 'x'.repeat(129) }, /is not an id/],
    ['a deduplication id that is not ASCII', { deduplicationId: 'ü' }, /ü is not an id/],
    [
      'a message of another queue',
      { message: finalizeMessage(ORDER, IMAGE, 'resolver').message },
      /not for this queue/,
    ],
    [
      'a message that no reader takes',
      { message: { ...resolveMessage(ORDER, slice()).message } },
      /what\.images: must/,
    ],
  ])('refuses %s as a permanent failure of the queue', (_what, change, complaint) => {
    const outgoing = { ...resolveMessage(ORDER, { kind: 'list' }), ...change };
    expect(() => prepare('resolve', outgoing)).toThrow(
      expect.objectContaining({ side: 'queue', remedy: 'never', message: expect.stringMatching(complaint) as string }),
    );
  });
});
