/** A complete sync from a registry that limits requests, on a clock that advances by the waits of the sync. */
import { expect, test } from 'vitest';
import { makeImage, makeLayer } from '../../kit/images.ts';
import { MemoryStore } from '../../kit/memory-store.ts';
import { errorBody, type Misbehaviour } from '../../kit/misbehave.ts';
import { mirror } from '../../kit/mirror.ts';
import { startRegistry } from '../../kit/registry.ts';

const TAGS = 300;
/** Requests per second, which is also the burst after a pause. */
const RATE = 20;

/** A clock that advances for one sleeper at a time, because all requests share one wait for a limiting endpoint. */
class Clock {
  ms = 0;
  readonly now = (): number => this.ms;
  readonly sleep = (ms: number, signal?: AbortSignal): Promise<void> => {
    signal?.throwIfAborted();
    this.ms += ms;
    return Promise.resolve();
  };
}

function tokenBucket({ now }: Clock): () => boolean {
  let tokens = RATE;
  let last = 0;
  return () => {
    tokens = Math.min(RATE, tokens + ((now() - last) / 1000) * RATE);
    last = now();
    if (tokens < 1) return false;
    tokens -= 1;
    return true;
  };
}

const TOO_MANY = errorBody('TOOMANYREQUESTS', 'Rate exceeded');

test.each<[string, Misbehaviour]>([
  ['429 without Retry-After', { status: 429, body: TOO_MANY }],
  [
    '503 with a page of HTML',
    { status: 503, body: '<html>Service Unavailable</html>', headers: { 'content-type': 'text/html' } },
  ],
  ['429 with Retry-After: 1', { status: 429, body: TOO_MANY, headers: { 'retry-after': '1' } }],
])('a limit of 20 requests per second that answers %s fails none of 300 tags', async (_, refusal) => {
  await using registry = await startRegistry();
  // Each tag is a different image.
  const layers = [makeLayer({ size: 100 })];
  for (let n = 0; n < TAGS; n += 1)
    registry.push('team/app', makeImage({ layers, overrides: { config: { author: `${n}` } } }), `t${n}`);
  const clock = new Clock();
  const allows = tokenBucket(clock);
  registry.misbehave({ when: () => !allows(), do: refusal });
  const { outcomes } = await mirror({
    store: new MemoryStore(),
    references: [`${registry.host}/team/app`],
    registry: { now: clock.now, sleep: clock.sleep, random: () => 0.5 },
  });
  expect(outcomes.filter(({ status }) => status !== 'mirrored')).toEqual([]);
  expect(outcomes).toHaveLength(TAGS);
  const sent = registry.requests.length;
  const refused = registry.count({ status: refusal.status! });
  expect(refused).toBeGreaterThan(0);
  expect(refused / sent).toBeLessThanOrEqual(0.1);
  const dictatedMs = ((sent - refused - RATE) / RATE) * 1000;
  expect(clock.ms / dictatedMs).toBeLessThanOrEqual(1.5);
});
