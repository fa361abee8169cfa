import { expect, test } from 'vitest';
import { SharedWork } from '../../../lib/core/shared-work.ts';

test('concurrent callers share one execution of the work', async () => {
  const shared = new SharedWork<string>();
  const gate = Promise.withResolvers<string>();
  let times = 0;
  const work = (): Promise<string> => {
    times += 1;
    return gate.promise;
  };
  const all = [shared.join('k', work), shared.join('k', work), shared.join('k', work)];
  gate.resolve('done');
  expect(await Promise.all(all)).toEqual(['done', 'done', 'done']);
  expect(times).toBe(1);
  expect(await shared.join('k', () => Promise.resolve('again'))).toBe('again');
});

test('the work is aborted only when the last caller has given up', async () => {
  const shared = new SharedWork<string>();
  const gate = Promise.withResolvers<string>();
  let inner: AbortSignal | undefined;
  const work = (signal: AbortSignal): Promise<string> => {
    inner = signal;
    signal.addEventListener('abort', () => {
      gate.reject(new Error('stopped'));
    });
    return gate.promise;
  };
  const [one, other] = [new AbortController(), new AbortController()];
  const first = shared.join('k', work, one.signal);
  const second = shared.join('k', work, other.signal);
  one.abort(new Error('first'));
  await expect(first).rejects.toThrow('first');
  expect(inner?.aborted).toBe(false);
  other.abort(new Error('second'));
  await expect(second).rejects.toThrow('second');
  expect(inner?.aborted).toBe(true);
  expect(await shared.join('k', () => Promise.resolve('new'))).toBe('new');
});

test('all callers get the same failure, and the next caller starts new work', async () => {
  const shared = new SharedWork<string>();
  const fail = (): Promise<string> => Promise.reject(new Error('no'));
  const both = await Promise.allSettled([shared.join('k', fail), shared.join('k', fail)]);
  expect(both.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
  expect(await shared.join('k', () => Promise.resolve('yes'))).toBe('yes');
});

test('abandoned work that ends late does not affect the work that replaced it', async () => {
  const shared = new SharedWork<string>();
  const late = Promise.withResolvers<string>();
  const stop = new AbortController();
  const givenUp = shared.join('k', () => late.promise, stop.signal);
  stop.abort(new Error('stopped'));
  await expect(givenUp).rejects.toThrow('stopped');

  const gate = Promise.withResolvers<string>();
  let times = 0;
  const work = (): Promise<string> => {
    times += 1;
    return gate.promise;
  };
  const first = shared.join('k', work);
  late.resolve('late');
  await new Promise(setImmediate);
  const second = shared.join('k', work);
  gate.resolve('done');
  expect(await Promise.all([first, second])).toEqual(['done', 'done']);
  expect(times).toBe(1);
});
