import { afterAll, beforeAll, expect, test } from 'vitest';
import { readRun } from '../../../lib/sync/reports.ts';
import type { Digest } from '../../../lib/oci/digest.ts';
import type { Image, Message, Order } from '../../../lib/queue/messages.ts';
import { finalizeMessage, layerMessage, resolveMessage } from '../../../lib/queue/outgoing.ts';
import { serialise } from '../../../lib/queue/parse.ts';
import { makeImage, makeLayer } from '../../kit/images.ts';
import { describeOnAws } from '../../kit/lambda/on-aws.ts';
import type { Stack } from '../../kit/lambda/stack.ts';
import { saidIn } from '../../kit/lambda/told.ts';
import { recordOf } from '../../kit/records.ts';
import { startRegistry, type TestRegistry } from '../../kit/registry.ts';

const layer = makeLayer({ seed: 1 });
const { mediaType } = layer;

await describeOnAws('dead letters', ({ start }) => {
  let registry: TestRegistry;
  let stack: Stack;
  let order: Order;
  let digest: Digest;

  // A run that has mirrored `good`; all other messages have crashed their functions.
  beforeAll(async () => {
    registry = await startRegistry();
    digest = registry.push('team/app', makeImage({ layers: [layer] }), 'good');
    const source = `${registry.host}/team/app`;
    stack = await start({ config: `version: 1\nmirrors:\n  - source: ${source}\n    tags: all\n`, maxReceives: 2 });
    const { outcome } = await stack.schedule('dead');
    const { run } = (outcome as { payload: { run: string } }).payload;
    order = { run, source, repository: source, platforms: 'all' };
    await stack.drained();
  });

  afterAll(async () => {
    await stack[Symbol.asyncDispose]();
    await registry.close();
  });

  /** The report and the event of each tag, once these messages are dead and handled. */
  async function buried(...messages: readonly Message[]): Promise<{ reports: object; events: object }> {
    const before = stack.events.length;
    const Records = messages.map((message) => recordOf(serialise(message), { group: order.repository }));
    const { outcome } = await stack.functions['dead-letters'].invoke({ Records });
    expect(outcome).toEqual({ payload: { batchItemFailures: [] } });
    await stack.drained();
    const reports = (await readRun(stack.archive, order.run)).map(({ reference, status, code, reason = '' }) => [
      reference.slice(order.source.length + 1),
      [status, code, reason.slice(0, reason.indexOf(' ('))].filter((part) => part !== undefined && part !== ''),
    ]);
    const events = stack.events.slice(before).map(({ type, detail }) => [detail['tag'], type]);
    return { reports: Object.fromEntries(reports) as object, events: Object.fromEntries(events) as object };
  }

  const reason = (type: string): string =>
    `handle ${type} message of ${order.source}: all deliveries crashed, timed out or were throttled; see the log of the function`;

  test('of a slice of tags fail the images that the run has not mirrored', async () => {
    const { message } = resolveMessage(order, { kind: 'images', images: [{ tag: 'good' }, { tag: 'sliced' }] });
    const { reports, events } = await buried(message);
    expect(reports).toEqual({ good: ['mirrored'], sliced: ['failed', 'internal', reason('resolve')] });
    expect(events).toEqual({ sliced: 'Image Failed' });
  });

  test('of a layer fail its image', async () => {
    const image: Image = { digest, mediaType, size: 1, tag: 'layered', observed: 1 };
    const { message } = layerMessage(
      order,
      image,
      { digest: layer.digest, mediaType, size: layer.size },
      { lanes: 4, look: 'receipt' },
    );
    const { reports, events } = await buried(message);
    expect(reports).toMatchObject({ good: ['mirrored'], layered: ['failed', 'internal', reason('layer')] });
    expect(events).toEqual({ layered: 'Image Failed' });
  });

  test('of a finalize message fail its image unless it is mirrored', async () => {
    const image: Image = { digest, mediaType, size: 1, tag: 'last', observed: 1 };
    const { reports, events } = await buried(
      finalizeMessage(order, { ...image, tag: 'good' }, 'resolver').message,
      finalizeMessage(order, image, 'resolver').message,
    );
    expect(reports).toMatchObject({ good: ['mirrored'], last: ['failed', 'internal', reason('finalize')] });
    expect(events).toEqual({ last: 'Image Failed' });
  });

  // A later release has sent them, and was rolled back permanently.
  test('of an unknown version fail their images as unsupported', async () => {
    const image: Image = { digest, mediaType, size: 1, tag: 'later', observed: 1 };
    const { message } = layerMessage(
      order,
      image,
      { digest: layer.digest, mediaType, size: layer.size },
      { lanes: 4, look: 'receipt' },
    );
    const { reports, events } = await buried({ ...message, version: 3 as never });
    expect(reports).toMatchObject({
      later: ['failed', 'unsupported', 'read message: version: is 3, and this release knows only 1 and 2'],
    });
    expect(events).toEqual({ later: 'Image Failed' });
  });

  // After two deliveries the message goes to the dead-letter queue. It names no image, so only the log has it.
  test('that are unreadable are logged, and the next message of the group is handled', async () => {
    await stack.send('finalize', '{"not": "a message"}', order.repository);
    await stack.send(
      'finalize',
      serialise(
        finalizeMessage(order, { tag: 'behind' }, 'resolver', { code: 'denied', reason: 'no (really)' }).message,
      ),
      order.repository,
    );
    await stack.drained();
    expect(stack.batches('dead finalize').flat()).toEqual(['{"not": "a message"}']);
    await stack.functions['dead-letters'].logged((lines) =>
      saidIn(lines).some(
        ({ message, body }) => message === 'dead letter that cannot be read' && body === '{"not": "a message"}',
      ),
    );
    const reports = await readRun(stack.archive, order.run);
    expect(reports.find(({ reference }) => reference.endsWith(':behind'))).toMatchObject({ code: 'denied' });
  });
});
