import { beforeEach, describe, expect, test } from 'vitest';
import { Fill, type FillResult } from '../../../lib/serve/fill.ts';

let clock: number;
let sent: string[];
let faults: string[];
let fill: Fill;

beforeEach(() => {
  [clock, sent, faults] = [1_000_000, [], []];
  fill = new Fill({
    now: () => clock,
    onFault: (text) => faults.push(text),
    order: ({ repositories: [repository = ''], tag }) => {
      if (repository === 'other.example/app') return undefined;
      const key = `${repository}:${tag}`;
      const send = (): Promise<void> => {
        if (tag === 'broken') return Promise.reject(new Error('the queue is full'));
        sent.push(key);
        return Promise.resolve();
      };
      return { key, send };
    },
  });
});

const request = (tag: string, repository = 'registry.example/app'): Promise<FillResult> =>
  fill.request({ repositories: [repository], tag });

describe('a missing tag', () => {
  test('is ordered once in five minutes', async () => {
    expect(await request('1')).toBe('ordered');
    clock += 5 * 60_000 - 1;
    expect(await request('1')).toBe('recent');
    expect(await request('2')).toBe('ordered');
    clock += 1;
    expect(await request('1')).toBe('ordered');
    expect(sent).toEqual(['registry.example/app:1', 'registry.example/app:2', 'registry.example/app:1']);
  });

  test('is ordered once by concurrent requests', async () => {
    expect(await Promise.all([request('1'), request('1')])).toEqual(['ordered', 'recent']);
  });

  test('is not ordered without a mirror', async () => {
    expect(await request('1', 'other.example/app')).toBe('unlisted');
    expect(sent).toEqual([]);
  });

  test('is ordered at most 30 times in any minute, and later on request', async () => {
    for (let at = 0; at < 15; at += 1) await request(`a${at}`);
    clock += 30_000;
    for (let at = 0; at < 15; at += 1) expect(await request(`b${at}`)).toBe('ordered');
    expect(await request('c')).toBe('limited');
    clock += 29_999;
    expect(await request('c')).toBe('limited');
    clock += 1;
    expect(await request('c')).toBe('ordered');
    expect(sent).toHaveLength(31);
  });

  test('of an unknown repository does not use the rate of others', async () => {
    for (let at = 0; at < 100; at += 1) await request(String(at), 'other.example/app');
    expect(await request('1')).toBe('ordered');
  });

  test('is reported in one line if its order fails, and ordered again after five minutes', async () => {
    expect(await request('broken')).toBe('failed');
    expect(faults).toEqual(['order registry.example/app:broken: order: the queue is full']);
    expect(await request('broken')).toBe('recent');
    clock += 5 * 60_000;
    expect(await request('broken')).toBe('failed');
  });
});
