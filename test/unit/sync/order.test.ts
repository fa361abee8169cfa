import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { LayerMessage } from '../../../lib/queue/messages.ts';
import { resolveMessage } from '../../../lib/queue/outgoing.ts';
import type { Outgoing } from '../../../lib/queue/queue.ts';
import type { MirrorEvent } from '../../../lib/sync/events.ts';
import { resolve } from '../../../lib/sync/resolver/resolve.ts';
import { makeArtifact, makeImage, type Pushable } from '../../kit/images.ts';
import { startRegistry, type TestRegistry } from '../../kit/registry.ts';
import { NEVER, orderFor, Rig } from './rig.ts';

const PATH = 'library/app';
/** More blobs than an image has that keeps their list while it waits. */
const MANY = 550;

let registry: TestRegistry;
beforeEach(async () => {
  registry = await startRegistry();
});
afterEach(() => registry.close());

function artifact(name: string, subject?: Pushable): Pushable {
  const blobs = Array.from({ length: MANY }, (_, n) => Buffer.from(`${name}${n}`));
  return makeArtifact({ blobs, ...(subject === undefined ? {} : { subject }) });
}

// In a full queue each of them waits, and the messages of images that wait take memory.
test('images of many layers send their messages one after another, a hundred at a time', async () => {
  await using rig = new Rig();
  const images = ['a', 'b', 'c'].map((name) =>
    makeArtifact({ blobs: Array.from({ length: 250 }, (_, n) => Buffer.from(`${name}${n}`)) }),
  );
  for (const [at, image] of images.entries()) registry.push('library/app', image, `v${at}`);
  const sends: { readonly image: string; readonly blobs: readonly string[] }[] = [];
  let waiting = 0;
  const { context } = rig;
  const queues = {
    async send(queue: string, outgoing: readonly Outgoing[]): Promise<void> {
      if (queue !== 'layer') return;
      waiting += 1;
      expect(waiting).toBe(1);
      await new Promise((done) => setImmediate(done));
      waiting -= 1;
      const messages = outgoing.map(({ message }) => message as LayerMessage);
      sends.push({ image: messages[0]!.image.digest, blobs: messages.map(({ blob }) => blob.digest) });
    },
  };
  const wanted = images.map((_, at) => ({ tag: `v${at}` }));
  const { message } = resolveMessage(orderFor(registry), { kind: 'images', images: wanted });
  await resolve({ ...context, queues }, message, { receiveCount: 1, last: false, signal: NEVER });
  const bySender = Map.groupBy(sends, ({ image }) => image);
  for (const { digest, blobs } of images) {
    const sent = bySender.get(digest) ?? [];
    expect(sent.map((each) => each.blobs.length)).toEqual([100, 100, 50]);
    expect(sent.flatMap((each) => each.blobs).every((blob) => blobs.has(blob as never))).toBe(true);
  }
  // The three sends of an image follow each other.
  expect(sends.map(({ image }) => image)).toEqual(
    sends.flatMap(({ image }, at) => (at % 3 === 0 ? [image, image, image] : [])),
  );
});

// The list of the blobs takes more memory than the image that waits.
test.each<[string, readonly string[], (names: readonly string[]) => void]>([
  ['images', ['v0', 'v1', 'v2'], (names) => names.forEach((name, at) => registry.push(PATH, artifact(name), `v${at}`))],
  [
    'referrers',
    ['v0'],
    (names) => {
      const subject = makeImage();
      registry.push(PATH, subject, 'v0');
      for (const name of names) registry.push(PATH, artifact(name, subject));
    },
  ],
])('of the %s with very many blobs, one at a time keeps the list of its blobs', async (_, tags, push) => {
  push(['a', 'b', 'c']);
  await using rig = new Rig();
  const listed: string[] = [];
  let sent = 0;
  const gate = Promise.withResolvers<undefined>();
  const queues = {
    async send(queue: string, outgoing: readonly Outgoing[]): Promise<void> {
      if (queue !== 'layer' || outgoing.length === 1) return;
      await gate.promise;
      sent += outgoing.length;
    },
  };
  const observe = (event: MirrorEvent): void => {
    if (event.type === 'resolved' && event.missing > 1) listed.push(event.reference);
  };
  const images = tags.map((tag) => ({ tag }));
  const { message } = resolveMessage(orderFor(registry), { kind: 'images', images });
  const options = { receiveCount: 1, last: false, signal: NEVER };
  const resolving = resolve({ ...rig.context, queues, observe }, message, options);
  await vi.waitFor(() => expect(listed).toHaveLength(1));
  // All manifests are known; the other images wait.
  await vi.waitFor(() => expect(registry.count({ kind: 'manifest' })).toBe(images.length === 1 ? 4 : 3));
  for (let turns = 0; turns < 50; turns += 1) await new Promise(setImmediate);
  expect(listed).toHaveLength(1);
  const manifests = registry.count({ kind: 'manifest' });
  gate.resolve(undefined);
  await resolving;
  expect(listed).toHaveLength(3);
  expect(sent).toBe(3 * MANY);
  // No manifest is requested again.
  expect(registry.count({ kind: 'manifest' })).toBe(manifests);
});
