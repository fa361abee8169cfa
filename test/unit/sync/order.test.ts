import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { LayerMessage } from '../../../lib/queue/messages.ts';
import { resolveMessage } from '../../../lib/queue/outgoing.ts';
import type { Outgoing } from '../../../lib/queue/queue.ts';
import type { MirrorEvent } from '../../../lib/sync/events.ts';
import { resolve } from '../../../lib/sync/resolver/resolve.ts';
import { makeArtifact } from '../../kit/images.ts';
import { startRegistry, type TestRegistry } from '../../kit/registry.ts';
import { NEVER, orderFor, Rig } from './rig.ts';

let registry: TestRegistry;
beforeEach(async () => {
  registry = await startRegistry();
});
afterEach(() => registry.close());

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
test('of the images with very many blobs, one at a time keeps the list of its blobs', async () => {
  await using rig = new Rig();
  const images = ['a', 'b', 'c'].map((name) =>
    makeArtifact({ blobs: Array.from({ length: 1_001 }, (_, n) => Buffer.from(`${name}${n}`)) }),
  );
  for (const [at, image] of images.entries()) registry.push('library/app', image, `v${at}`);
  const { context } = rig;
  const listed: string[] = [];
  let sent = 0;
  const gate = Promise.withResolvers<undefined>();
  const queues = {
    async send(queue: string, outgoing: readonly Outgoing[]): Promise<void> {
      if (queue !== 'layer') return;
      await gate.promise;
      sent += outgoing.length;
    },
  };
  const observe = (event: MirrorEvent): void => {
    if (event.type === 'resolved') listed.push(event.reference);
  };
  const wanted = images.map((_, at) => ({ tag: `v${at}` }));
  const { message } = resolveMessage(orderFor(registry), { kind: 'images', images: wanted });
  const options = { receiveCount: 1, last: false, signal: NEVER };
  const resolving = resolve({ ...context, queues, observe }, message, options);
  await vi.waitFor(() => expect(registry.count({ kind: 'referrers' })).toBe(3));
  await vi.waitFor(() => expect(listed).toHaveLength(1));
  gate.resolve(undefined);
  await resolving;
  expect(listed).toHaveLength(3);
  expect(sent).toBe(3 * 1_001);
  // No manifest is requested again.
  expect(registry.count({ kind: 'manifest' })).toBe(3);
});
