import { expect, test } from 'vitest';
import { bodyOf } from '../../../lib/store/body.ts';

function opened() {
  const seen = { released: 0, ended: 0 };
  // eslint-disable-next-line @typescript-eslint/require-await -- a body is an async iterable
  async function* chunks(): AsyncGenerator<Uint8Array, void, void> {
    try {
      yield Buffer.from('one');
      yield Buffer.from('two');
    } finally {
      seen.ended += 1;
    }
  }
  const body = bodyOf(chunks(), () => {
    seen.released += 1;
  });
  return { body, seen };
}

test('a body that is returned before its first chunk is released once', async () => {
  const { body, seen } = opened();
  const iterator = body[Symbol.asyncIterator]();
  await iterator.return?.();
  await iterator.return?.();
  expect(await iterator.next()).toEqual({ done: true, value: undefined });
  expect(seen).toEqual({ released: 1, ended: 0 });
});

test('a body that is returned after a chunk ends its generator, which releases it', async () => {
  const { body, seen } = opened();
  for await (const _ of body) break;
  expect(seen).toEqual({ released: 0, ended: 1 });
});

test('a body that is read to its end is not released again', async () => {
  const { body, seen } = opened();
  expect(await Array.fromAsync(body, String)).toEqual(['one', 'two']);
  expect(seen).toEqual({ released: 0, ended: 1 });
});
