import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type MissingOrder, orderForMissing } from '../../../lib/app/missing.ts';
import { OnDemand } from '../../../lib/app/on-demand.ts';
import { parseConfig } from '../../../lib/config/config.ts';
import type { Config } from '../../../lib/config/mirrors.ts';
import type { MirrorEvent } from '../../../lib/sync/events.ts';
import { makeImage, makeLayer } from '../../kit/images.ts';
import { startRegistry, type TestRegistry } from '../../kit/registry.ts';
import { tempFolder, type TempFolder } from '../../kit/temp.ts';

let upstream: TestRegistry;
let folder: TempFolder;
let config: Config;
let stop: AbortController;
let events: MirrorEvent[];
let notices: string[];

beforeEach(async () => {
  [upstream, folder] = await Promise.all([startRegistry(), tempFolder()]);
  [stop, events, notices] = [new AbortController(), [], []];
  config = parseConfig(`version: 1\nmirrors: [{ source: ${upstream.host}/app, tags: all }]`, 'mirror.yaml');
  for (let tag = 0; tag < 5; tag += 1)
    upstream.push('app', makeImage({ layers: [makeLayer({ seed: tag })] }), String(tag));
});
afterEach(async () => {
  stop.abort();
  await upstream.close();
  await folder.remove();
});

function open(): Promise<OnDemand> {
  return OnDemand.open({
    archive: folder.join('archive'),
    config,
    env: { DOCKER_CONFIG: '/nowhere' },
    signal: stop.signal,
    event: (event) => events.push(event),
    notice: (text) => notices.push(text),
  });
}

const order = (tag: number): MissingOrder =>
  orderForMissing({ repositories: [`${upstream.host}/app`], tag: String(tag) }, config, Date.now())!;
const results = (): unknown[] => events.flatMap((event) => (event.type === 'image' ? [event.status] : []));
const requested = (): number => upstream.count({ kind: 'manifest' });

describe('the syncs that requests order', () => {
  test('run three at a time, each once, and resolve when none is left', async () => {
    const slow = upstream.misbehave({ match: { kind: 'manifest' }, do: { noAnswer: true } });
    const onDemand = await open();
    for (const tag of [0, 1, 2, 3, 4, 0]) onDemand.start(order(tag));
    await expect.poll(requested).toBe(3);
    slow.stop();
    await onDemand.ended();
    expect(results()).toEqual(Array.from({ length: 5 }, () => 'mirrored'));
    expect(upstream.mostAtOnce).toBeGreaterThanOrEqual(3);
    expect(notices).toEqual([]);
  });

  test('end when the server stops, and those that wait do not begin', async () => {
    upstream.misbehave({ match: { kind: 'manifest' }, do: { noAnswer: true } });
    const onDemand = await open();
    for (const tag of [0, 1, 2, 3, 4]) onDemand.start(order(tag));
    await expect.poll(requested).toBe(3);
    stop.abort();
    await onDemand.ended();
    onDemand.start(order(4));
    await onDemand.ended();
    expect(requested()).toBe(3);
    expect(notices).toEqual([]);
  });

  test('are refused if a hundred wait', async () => {
    upstream.misbehave({ match: { kind: 'manifest' }, do: { noAnswer: true } });
    const onDemand = await open();
    for (let tag = 0; tag < 103; tag += 1) onDemand.start(order(tag));
    expect(() => {
      onDemand.start(order(103));
    }).toThrow('100 images wait for their sync');
    stop.abort();
    await onDemand.ended();
  });
});
