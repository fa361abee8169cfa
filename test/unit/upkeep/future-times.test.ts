/** The clock of a machine that has synced was a day ahead. */
import { beforeEach, describe, expect, test } from 'vitest';
import { Archive } from '../../../lib/archive/archive.ts';
import { ociLayout } from '../../../lib/archive/oci-layout.ts';
import { ANNOTATIONS } from '../../../lib/archive/tag-index/tag-index.ts';
import { Failure } from '../../../lib/core/failure.ts';
import { MEDIA_TYPES } from '../../../lib/oci/mediatype.ts';
import type { ObjectStore } from '../../../lib/store/store.ts';
import { repairArchive, type Repaired } from '../../../lib/upkeep/repair.ts';
import { type Verified, verifyArchive } from '../../../lib/upkeep/verify.ts';
import { Faults } from '../../kit/faults.ts';
import { makeImage, makeLayer } from '../../kit/images.ts';
import { MemoryStore } from '../../kit/memory-store.ts';
import { mirror } from '../../kit/mirror.ts';
import { startRegistry } from '../../kit/registry.ts';

const DAY = 24 * 60 * 60_000;
const signal = new AbortController().signal;
const layers = [1, 2].map((seed) => makeLayer({ seed }));
const [first, second] = layers.map((layer) => makeImage({ layers: [layer] }));
const later = makeImage({ layers });

let host: string;
let repository: string;
let store: MemoryStore;
let archive: Archive;

const verify = (): Promise<Verified> => verifyArchive(new Archive(store, ociLayout), { signal, concurrency: 2 });

async function repair(over: ObjectStore = store): Promise<Repaired> {
  const { problems, checked } = await verify();
  return repairArchive(new Archive(over, ociLayout), problems, { signal, now: Date.now(), checked });
}

async function textAt(key: string): Promise<string> {
  return Buffer.from((await store.get(key, { maxBytes: 1e6 }))?.bytes ?? []).toString();
}

/** Puts all times of a tag index a day ahead, as a machine with such a clock would have written them. */
async function advance(name: string): Promise<string> {
  const text = (await textAt(ociLayout.tagIndex(name))).replaceAll(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, (time) =>
    new Date(Date.parse(time) + DAY).toISOString(),
  );
  await store.put(ociLayout.tagIndex(name), Buffer.from(text));
  return text;
}

beforeEach(async () => {
  await using registry = await startRegistry();
  ({ host } = registry);
  repository = `${host}/team/a`;
  registry.push('team/a', first!, 'v1');
  registry.push('team/b', first!, 'v1');
  store = new MemoryStore();
  await mirror({ store, references: [`${repository}:v1`, `${host}/team/b:v1`] });
  registry.push('team/a', second!, 'v1');
  ({ archive } = await mirror({ store, references: [`${repository}:v1`] }));
});

describe('verify', () => {
  test('reports the last time in the future as a problem of its repository, and verifies all images', async () => {
    const before = await verify();
    const text = await advance(repository);
    const [last] = (text.match(/\d{4}-\d\d-\d\dT[\d:.]+Z/g) ?? []).sort().reverse();
    const { problems, ...counts } = await verify();
    expect({ ...counts, problems: [] }).toEqual(before);
    expect(problems).toEqual([
      { repository, reference: repository, reason: expect.any(String) as string, repair: { times: true } },
    ]);
    expect(problems[0]?.reason).toMatch(
      new RegExp(
        `^manifests\\[0\\]\\.annotations\\.dev\\.mirror-sync\\.[a-z-]+ of tag v1 is ${last}, more than 15 minutes after ` +
          'the clock of this machine \\(\\S+\\); if that clock is right, verify --repair sets such times to the present$',
      ),
    );
    expect(await textAt(ociLayout.tagIndex(repository))).toBe(text);
  });
});

describe('a repair of times in the future', () => {
  test('keeps all images and their order, and later syncs move the tag', async () => {
    const before = (await archive.tagIndex(repository))?.index.history('v1').map(({ digest }) => digest);
    await advance(repository);
    await expect(new Archive(store, ociLayout).tagIndex(repository)).rejects.toMatchObject({ code: 'corrupt' });
    expect(await repair()).toEqual({ dropped: new Set(), receipts: 0 });
    const repaired = (await new Archive(store, ociLayout).tagIndex(repository))?.index;
    expect(repaired?.history('v1').map(({ digest }) => digest)).toEqual(before);
    expect(repaired?.byTag('v1')?.observed).toBeLessThanOrEqual(Date.now());
    expect(await verify()).toMatchObject({ problems: [], references: 3 });

    const descriptor = { mediaType: MEDIA_TYPES.ociManifest, digest: later.digest, size: later.manifest.length };
    const change = { tag: 'v1', descriptor, observed: Date.now() + 1, platforms: 'all' } as const;
    expect(await archive.updateTags(repository, [change])).toMatchObject([{ outcome: 'written' }]);
  });

  test('also removes what leads to a corrupt blob', async () => {
    await advance(repository);
    await store.delete(ociLayout.blob(layers[1]!.digest));
    expect(await repair()).toEqual({ dropped: new Set([`${repository}:v1`]), receipts: 0 });
    expect(await verify()).toMatchObject({ problems: [], references: 2 });
  });

  test('that is interrupted leaves the old index or the repaired one, and can be repeated', async () => {
    const text = await advance(repository);
    const error = new Failure({ operation: 'call store', side: 'archive', code: 'denied', detail: 'lost' });
    for (const when of ['before', 'after'] as const)
      for (let at = 1; ; at += 1) {
        await store.put(ociLayout.tagIndex(repository), Buffer.from(text));
        const faults = new Faults({ at, when, act: error });
        const { problems } = await verify();
        const interrupted = repairArchive(new Archive(faults.wrap(store), ociLayout), problems, {
          signal,
          now: Date.now(),
        });
        const isInterrupted = await interrupted.then(
          () => false,
          () => true,
        );
        if (!isInterrupted) break;
        const left = await textAt(ociLayout.tagIndex(repository));
        if (left !== text) expect(await verify()).toMatchObject({ problems: [], references: 3 });
        await repair();
        expect(await verify()).toMatchObject({ problems: [], references: 3 });
      }
  });

  test('keeps the entries that another writer adds between its read and its write', async () => {
    const text = await advance(repository);
    const key = ociLayout.tagIndex(repository);
    const added = { ...second!.descriptor, annotations: { [ANNOTATIONS.tag]: 'v2', [ANNOTATIONS.observed]: '' } };
    added.annotations[ANNOTATIONS.observed] = new Date(Date.now() + DAY).toISOString();
    const conditions: unknown[] = [];
    const overtaken = new Proxy<ObjectStore>(store, {
      get(_, name) {
        const value: unknown = Reflect.get(store, name, store);
        if (name !== 'put') return typeof value === 'function' ? (value.bind(store) as unknown) : value;
        return async (...args: Parameters<ObjectStore['put']>) => {
          conditions.push(args[2]?.condition);
          if (conditions.length === 1)
            await store.put(key, Buffer.from(text.replace('"manifests":[', `$&\n${JSON.stringify(added)},`)));
          return store.put(...args);
        };
      },
    });
    await repair(overtaken);
    expect(conditions).toEqual([{ etag: expect.any(String) as string }, { etag: expect.any(String) as string }]);
    const index = (await new Archive(store, ociLayout).tagIndex(repository))?.index;
    expect(index?.entries().map(({ tag, digest }) => [tag, digest])).toEqual([
      ['v1', second!.digest],
      ['v2', second!.digest],
      [undefined, first!.digest],
    ]);
  });

  test('beside a sync loses no image of either', async () => {
    await using registry = await startRegistry();
    registry.push('team/a', first!, 'v1');
    const name = `${registry.host}/team/a`;
    await mirror({ store, references: [`${name}:v1`] });
    registry.push('team/a', later, 'v2');
    const text = await advance(name);
    for (let at = 1; ; at += 1) {
      await store.put(ociLayout.tagIndex(name), Buffer.from(text));
      let calls = 0;
      const beside = new Proxy<ObjectStore>(store, {
        get(_, method) {
          const value: unknown = Reflect.get(store, method, store);
          if (typeof value !== 'function') return value;
          return async (...args: unknown[]) => {
            if ((calls += 1) === at) await mirror({ store, references: [`${name}:v2`] });
            return Reflect.apply(value, store, args) as unknown;
          };
        },
      });
      await repair(beside);
      if (calls < at) break;
      const { outcomes } = await mirror({ store, references: [`${name}:v1`, `${name}:v2`] });
      expect(outcomes.map(({ status }) => status)).not.toContain('failed');
      const index = (await new Archive(store, ociLayout).tagIndex(name))?.index;
      expect(index?.entries().map(({ tag }) => tag)).toEqual(['v1', 'v2']);
    }
  });
});
