import { expect, test } from 'vitest';
import { Failure } from '../../../lib/core/failure.ts';
import { MemoryStore } from '../../kit/memory-store.ts';
import { mirror } from '../../kit/mirror.ts';
import { startRegistry } from '../../kit/registry.ts';

test('the images of an unhandled message are reported as failed, even if the queue refuses the record', async () => {
  await using registry = await startRegistry();
  const name = `${registry.host}/team/none`;
  const { outcomes, events } = await mirror({
    store: new MemoryStore(),
    references: [name, `${name}:1`],
    wrapQueues: () => ({
      send: () => Promise.reject(new Failure({ operation: 'send', side: 'queue', code: 'io', detail: 'on purpose' })),
    }),
  });
  expect(outcomes).toMatchObject(
    [`${name}:1`, name].map((reference) => ({ reference, status: 'failed', reason: 'send: on purpose' })),
  );
  expect(events).toMatchObject([
    { type: 'image', code: 'io' },
    { type: 'image', code: 'io' },
  ]);
});
