import { describe, expect, test } from 'vitest';
import { kept } from '../../../functions/kept.ts';
import { Failure, invalid } from '../../../lib/core/failure.ts';

/** The text of a service that does not respond. */
const SILENT = 'silent';

/** A text that can be changed, and a clock. A text that begins with `!` cannot be parsed. */
function rig(first: string | Error) {
  const refused: [string, boolean][] = [];
  let [source, now, reads]: [string | Error, number, number] = [first, 1_000_000, 0];
  let limit = new AbortController();
  const get = kept({
    operation: 'read secret sample',
    limit: () => (limit = new AbortController()).signal,
    read: () => {
      reads += 1;
      if (source === SILENT) return Promise.withResolvers<string>().promise;
      return typeof source === 'string' ? Promise.resolve(source) : Promise.reject(source);
    },
    parse: (text) => {
      if (text.startsWith('!')) throw invalid('read configuration', `mirror.yaml:1:1: ${text}`);
      return { text };
    },
    onRefused: ({ message }, keptLast) => refused.push([message, keptLast]),
    now: () => now,
  });
  return {
    get,
    refused,
    reads: () => reads,
    put: (next: string | Error) => (source = next),
    pass: (ms: number) => (now += ms),
    /** Ends the time of the current read. */
    end: () => {
      limit.abort();
    },
  };
}

test('reads once in 60 s, even for concurrent callers', async () => {
  const { get, reads, put, pass } = rig('a');
  expect(await Promise.all([get(), get()])).toEqual([{ text: 'a' }, { text: 'a' }]);
  put('b');
  pass(59_999);
  expect(await get()).toEqual({ text: 'a' });
  expect(reads()).toBe(1);
});

test('uses a changed text after 60 s', async () => {
  const { get, put, pass } = rig('a');
  await get();
  put('b');
  pass(60_000);
  expect(await get()).toEqual({ text: 'b' });
});

test('keeps the value of an unchanged text', async () => {
  const { get, pass } = rig('a');
  const first = await get();
  pass(60_000);
  expect(await get()).toBe(first);
});

test('keeps the last good value while a new text is refused, and reports that after each read', async () => {
  const { get, refused, put, pass, reads } = rig('a');
  await get();
  put('!typo');
  pass(60_000);
  expect(await get()).toEqual({ text: 'a' });
  expect(await get()).toEqual({ text: 'a' });
  expect(reads()).toBe(2);
  pass(60_000);
  expect(await get()).toEqual({ text: 'a' });
  const refusal = ['read configuration: mirror.yaml:1:1: !typo', true];
  expect(refused).toEqual([refusal, refusal]);
  put('b');
  pass(60_000);
  expect(await get()).toEqual({ text: 'b' });
});

test('keeps the last good value while reads fail', async () => {
  const { get, refused, put, pass } = rig('a');
  await get();
  put(new Failure({ operation: 'read secret', side: 'archive', code: 'unavailable', detail: 'later' }));
  pass(60_000);
  expect(await get()).toEqual({ text: 'a' });
  expect(refused).toEqual([['read secret: later', true]]);
});

test('throws without a last good value, and reads again at once', async () => {
  const { get, refused, put, reads } = rig('!typo');
  await expect(Promise.all([get(), get()])).rejects.toThrow('mirror.yaml:1:1: !typo');
  expect(reads()).toBe(1);
  await expect(get()).rejects.toThrow('!typo');
  expect(refused.map(([, keptLast]) => keptLast)).toEqual([false, false]);
  put('good');
  expect(await get()).toEqual({ text: 'good' });
});

describe('a read without a response', () => {
  const late = 'read secret sample: no response within 5 s';

  test('fails when its time has ended, so that a message can wait', async () => {
    const { get, refused, put, end } = rig(SILENT);
    const first = get();
    end();
    await expect(first).rejects.toMatchObject({ code: 'timeout', remedy: 'retry', message: late });
    expect(refused).toEqual([[late, false]]);
    put('a');
    expect(await get()).toEqual({ text: 'a' });
  });

  test('leaves the last good value in use', async () => {
    const { get, refused, put, pass, end, reads } = rig('a');
    await get();
    put(SILENT);
    pass(60_000);
    const again = get();
    end();
    expect(await again).toEqual({ text: 'a' });
    expect(await get()).toEqual({ text: 'a' });
    expect(reads()).toBe(2);
    expect(refused).toEqual([[late, true]]);
  });
});
