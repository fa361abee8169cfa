import { describe, expect, test } from 'vitest';
import { Archive } from '../../../lib/archive/archive.ts';
import { ociLayout } from '../../../lib/archive/oci-layout.ts';
import { withDecisionIn } from '../../../lib/archive/tag-index/withheld.ts';
import { Failure } from '../../../lib/core/failure.ts';
import { removalsOf, repairArchive, type Repaired } from '../../../lib/upkeep/repair.ts';
import { type Verified, verifyArchive } from '../../../lib/upkeep/verify.ts';
import { NO_POLICY } from '../../../lib/policy/policy.ts';
import { parseDigest } from '../../../lib/oci/digest.ts';
import { sha256 } from '../../kit/content.ts';
import { failNth } from '../../kit/faults.ts';
import { makeImage, makeLayer } from '../../kit/images.ts';
import { MemoryStore } from '../../kit/memory-store.ts';
import { mirror } from '../../kit/mirror.ts';
import { startRegistry } from '../../kit/registry.ts';

const signal = new AbortController().signal;

function verify(archive: Archive): Promise<Verified> {
  return verifyArchive(archive, { signal, concurrency: 2 });
}

function repair(archive: Archive, problems: Verified['problems']): Promise<Repaired> {
  return repairArchive(archive, problems, { signal, now: Date.UTC(2026, 0, 31) });
}

const [shared, own] = [makeLayer({ seed: 1 }), makeLayer({ seed: 2 })];
const broken = makeImage({ layers: [shared, own] });
const sound = makeImage({ layers: [shared] });

describe('a repair', () => {
  test.for([
    ['a layer with a flipped byte', own.digest, 'flip'],
    ['a layer that is gone', own.digest, 'delete'],
    ['a manifest with a flipped byte', broken.digest, 'flip'],
    ['a config that is gone', sha256(broken.config), 'delete'],
  ] as const)('of %s removes the affected image, which the next sync restores', async ([, digest, damage]) => {
    await using registry = await startRegistry();
    registry.push('team/a', broken, 'v1');
    registry.push('team/b', sound, 'v1');
    const store = new MemoryStore();
    const references = [`${registry.host}/team/a:v1`, `${registry.host}/team/b:v1`];
    const { archive } = await mirror({ store, references });
    const key = archive.layout.blob(parseDigest(digest));
    const there = await store.get(key, { maxBytes: 1e6 });
    if (damage === 'delete') await store.delete(key);
    else {
      const bytes = Buffer.from(there?.bytes ?? []);
      bytes[10] = (bytes[10] ?? 0) ^ 1;
      await store.put(key, bytes);
    }

    const { problems } = await verify(archive);
    expect(problems).not.toEqual([]);
    expect(await repair(archive, problems)).toEqual({ dropped: new Set([references[0]]), receipts: 0 });
    expect(await verify(archive)).toMatchObject({ problems: [], references: 1 });

    const { outcomes } = await mirror({ store, references });
    expect(outcomes.map(({ status }) => status)).toEqual(['mirrored', 'unchanged']);
    expect(await verify(archive)).toMatchObject({ problems: [], references: 2 });
  });

  test.for([
    ['has a flipped byte', 'flip'],
    ['is gone', 'delete'],
  ] as const)('of a rejected image whose layer %s prepares a sync after a release', async ([, damage]) => {
    await using registry = await startRegistry();
    registry.push('team/a', broken, 'v1');
    const repository = `${registry.host}/team/a`;
    const references = [`${repository}:v1`];
    const store = new MemoryStore();
    const { archive } = await mirror({ store, references });
    const decide = (action: 'release' | 'reject'): Promise<unknown> =>
      archive.updatePolicy(repository, (index) =>
        withDecisionIn(index, { action, digest: broken.digest, by: 'ann', at: Date.now(), reason: 'a reason' }),
      );
    await decide('reject');
    expect(await verify(archive)).toMatchObject({ problems: [], references: 0, objects: 4 });
    const key = archive.layout.blob(parseDigest(own.digest));
    if (damage === 'delete') await store.delete(key);
    else await store.put(key, Buffer.concat([own.blob, Buffer.from('x')]));

    const { problems } = await verify(archive);
    const reference = `${repository}@${broken.digest}`;
    expect(problems).toMatchObject([{ reference, digest: own.digest, isRejected: true }]);
    expect(removalsOf(problems)).toEqual([]);
    expect(await repair(archive, problems)).toEqual({ dropped: new Set(), receipts: 0 });
    expect((await verify(archive)).problems).toEqual([]);

    await decide('release');
    expect((await mirror({ store, references })).outcomes).toMatchObject([{ status: 'mirrored' }]);
    expect(await verify(archive)).toMatchObject({ problems: [], references: 1 });
  });

  test('removes a held image with a damaged layer, and the next sync continues its period', async () => {
    await using registry = await startRegistry();
    registry.push('team/a', sound, 'v1');
    const store = new MemoryStore();
    const references = [`${registry.host}/team/a:v1`];
    const age = { ...NO_POLICY, minimumAgeMs: 1_000_000 };
    const at = Date.now() - 2_000_000;
    const { archive } = await mirror({ store, references, now: () => at });
    // The tag keeps its digest while the new one is held.
    registry.push('team/a', broken, 'v1');
    const held = { store, references, policy: age, now: () => at + 1_000 };
    expect((await mirror(held)).outcomes).toMatchObject([{ status: 'held' }]);
    await store.delete(archive.layout.blob(parseDigest(own.digest)));

    const { problems } = await verify(archive);
    expect(removalsOf(problems)).toEqual([
      { reference: `${references[0]}@${broken.digest}`, restorable: true, isHeld: true },
    ]);
    await repair(archive, problems);
    expect(await verify(archive)).toMatchObject({ problems: [], references: 1, held: 0 });
    const restored = await mirror({ ...held, now: () => at + 5_000 });
    expect(restored.outcomes).toMatchObject([{ status: 'held', until: new Date(at + 1_001_000).toISOString() }]);
    expect(await verify(archive)).toMatchObject({ problems: [], references: 2, held: 1 });
  });

  test('of a corrupt shared layer removes all images with that layer, and no other', async () => {
    await using registry = await startRegistry();
    registry.push('team/a', broken, 'v1');
    registry.push('team/b', sound, 'v1');
    registry.push('team/c', makeImage({ layers: [own] }), 'v1');
    const store = new MemoryStore();
    const references = ['a', 'b', 'c'].map((name) => `${registry.host}/team/${name}:v1`);
    const { archive } = await mirror({ store, references });
    await store.delete(archive.layout.blob(parseDigest(shared.digest)));
    const { problems } = await verify(archive);
    expect((await repair(archive, problems)).dropped).toEqual(new Set(references.slice(0, 2)));
    const { outcomes } = await mirror({ store, references });
    expect(outcomes.map(({ status }) => status)).toEqual(['mirrored', 'mirrored', 'unchanged']);
    expect(await verify(archive)).toMatchObject({ problems: [], references: 3 });
  });

  test.for([
    ['missing', undefined, /oci-layout is missing, and other tools need it$/],
    ['of another version', '{"imageLayoutVersion":"9"}', /^expected {"imageLayoutVersion":"1\.0\.0"} in .*oci-layout$/],
    ['too large', ' '.repeat(5_000), /^expected /],
  ] as const)('writes an oci-layout file that is %s', async ([, content, reason]) => {
    await using registry = await startRegistry();
    registry.push('team/a', sound, 'v1');
    const repository = `${registry.host}/team/a`;
    const store = new MemoryStore();
    const { archive } = await mirror({ store, references: [`${repository}:v1`] });
    const { key, content: expected } = archive.layout.marker(repository);
    await store.put(key, Buffer.from('{ "imageLayoutVersion": "1.0.0" }\n'));
    expect((await verify(archive)).problems).toEqual([]);
    if (content === undefined) await store.delete(key);
    else await store.put(key, Buffer.from(content));

    const { problems } = await verify(archive);
    expect(problems).toEqual([
      { repository, reference: repository, reason: expect.stringMatching(reason) as string, repair: { marker: true } },
    ]);
    expect(await repair(archive, problems)).toEqual({ dropped: new Set(), receipts: 0 });
    expect(Buffer.from((await store.get(key, { maxBytes: 100 }))!.bytes).toString()).toBe(expected);
    expect(await verify(archive)).toMatchObject({ problems: [], references: 1 });
  });

  // Blobs were copied without `.mirror`, and one receipt is wrong.
  test('of missing or wrong receipts writes them again and keeps the references', async () => {
    await using registry = await startRegistry();
    registry.push('team/a', broken, 'v1');
    registry.push('team/b', sound, 'v1');
    const store = new MemoryStore();
    const references = ['a', 'b'].map((name) => `${registry.host}/team/${name}:v1`);
    const { archive } = await mirror({ store, references });
    const before = await archive.receipt(shared.digest);
    await store.delete(archive.layout.receipt(shared.digest));
    await archive.putReceipt({ ...(await archive.receipt(own.digest))!, diffIds: { sha256: shared.diffId } });

    const { problems } = await verify(archive);
    expect(problems.map(({ reference }) => reference).toSorted()).toEqual([references[0], ...references]);
    expect(await repair(archive, problems)).toEqual({ dropped: new Set(), receipts: 2 });
    expect(await verify(archive)).toMatchObject({ problems: [], references: 2 });
    expect(await archive.receipt(shared.digest)).toEqual({
      ...before,
      source: expect.stringContaining('/team/'),
      verifiedAt: '2026-01-31T00:00:00.000Z',
    });
    const { outcomes } = await mirror({ store, references });
    expect(outcomes.map(({ status }) => status)).toEqual(['unchanged', 'unchanged']);
  });

  test.each([
    [
      'size',
      makeImage({ layers: [shared], overrides: { descriptors: ([one]) => [{ ...one!, size: one!.size + 1 }] } }),
    ],
    ['diffID', makeImage({ layers: [shared], overrides: { diffIds: [own.diffId] } })],
  ])('of an image with a wrong %s of a blob keeps the blob for other images', async (_, wrong) => {
    await using registry = await startRegistry();
    registry.push('team/b', sound, 'v1');
    const store = new MemoryStore();
    const reference = `${registry.host}/team/b:v1`;
    const { archive } = await mirror({ store, references: [reference] });
    for (const [digest, bytes] of wrong.blobs) await archive.putContent(digest, bytes);
    await archive.putContent(wrong.digest, wrong.manifest);
    const change = { tag: 'wrong', descriptor: wrong.descriptor, observed: 1, platforms: 'all' } as const;
    await archive.updateTags(`${registry.host}/team/b`, [change]);

    const { problems } = await verify(archive);
    const dropped = new Set([`${registry.host}/team/b:wrong`]);
    expect(await repair(archive, problems)).toEqual({ dropped, receipts: 0 });
    expect(await verify(archive)).toMatchObject({ problems: [], references: 1 });
    const { outcomes } = await mirror({ store, references: [reference] });
    expect(outcomes.map(({ status }) => status)).toEqual(['unchanged']);
  });

  // After each call to the store in turn. A second repair finishes the work.
  test.each([
    ['a layer', own.digest],
    ['a manifest', broken.digest],
    ['a config', sha256(broken.config)],
  ])('that is killed leaves no reference to deleted bytes of %s', async (_, digest) => {
    await using registry = await startRegistry();
    registry.push('team/a', broken, 'v1');
    registry.push('team/b', broken, 'v1');
    const references = [`${registry.host}/team/a:v1`, `${registry.host}/team/b:v1`];
    const stages = new Set<string>();
    for (let at = 1; ; at += 1) {
      const store = new MemoryStore();
      const { archive } = await mirror({ store, references });
      const key = archive.layout.blob(parseDigest(digest));
      await store.put(key, Buffer.from('corrupt'));
      const { problems } = await verify(archive);
      const { port, faults } = failNth(store, at, new Error('killed'), { when: 'after' });
      const repairing = repair(new Archive(port, ociLayout), problems).then(
        () => 'whole',
        () => 'killed',
      );
      const end = await repairing;
      if (end === 'whole') {
        expect(faults.fired).toBe(false);
        break;
      }
      const isDeleted = (await store.head(key)) === undefined;
      const left = await Array.fromAsync(archive.repositories());
      const entries = await Promise.all(
        left.map(async (name) => (await archive.tagIndex(name))?.index.entries() ?? []),
      );
      const named = entries.flat().length;
      stages.add(isDeleted ? `deleted, ${named} references` : `there, ${named} references`);
      if (isDeleted) expect(named).toBe(0);
      // No sync relies on a receipt of wrong or missing bytes.
      expect(await archive.receipt(parseDigest(digest))).toBeUndefined();
      await repair(archive, (await verify(archive)).problems);
      expect(await verify(archive)).toMatchObject({ problems: [], references: 0 });
      expect((await mirror({ store, references })).outcomes.map(({ status }) => status)).not.toContain('failed');
    }
    expect([...stages]).toEqual([
      'there, 2 references',
      'there, 1 references',
      'there, 0 references',
      'deleted, 0 references',
    ]);
  });

  test('fails if it cannot read a reference that the verification has not checked', async () => {
    await using registry = await startRegistry();
    const late = makeImage({ layers: [own] });
    registry.push('team/a', broken, 'v1');
    registry.push('team/b', late, 'v1');
    const store = new MemoryStore();
    const { archive } = await mirror({
      store,
      references: [`${registry.host}/team/a:v1`, `${registry.host}/team/b:v1`],
    });
    await store.delete(archive.layout.blob(own.digest));
    const { problems } = await verify(archive);
    const before = problems.filter(({ reference }) => reference.includes('team/a'));
    const manifest = archive.layout.blob(late.digest);
    const get = store.get.bind(store);
    store.get = (key, options) => {
      if (key !== manifest) return get(key, options);
      const detail = 'access denied';
      return Promise.reject(new Failure({ operation: `get ${key}`, side: 'archive', code: 'denied', detail }));
    };
    await expect(repair(archive, before)).rejects.toMatchObject({ code: 'denied' });
  });

  // The sync stores the blob again before each delete of the repair in turn. There is never a receipt without its
  // blob.
  test('that runs concurrently with a sync keeps the content that the sync stores', async () => {
    for (let at = 1; ; at += 1) {
      await using registry = await startRegistry();
      registry.push('team/a', broken, 'v1');
      const store = new MemoryStore();
      const references = [`${registry.host}/team/a:v1`];
      const { archive } = await mirror({ store, references });
      const key = archive.layout.blob(own.digest);
      await store.put(key, Buffer.from('corrupt'));
      const { problems } = await verify(archive);
      let calls = 0;
      const beside = new Proxy(store, {
        get(_, name) {
          const value: unknown = Reflect.get(store, name, store);
          if (typeof value !== 'function') return value;
          if (name === 'list') return value.bind(store) as unknown;
          return async (...args: unknown[]) => {
            if ((calls += 1) === at) await mirror({ store, references });
            return Reflect.apply(value, store, args) as unknown;
          };
        },
      });
      await repair(new Archive(beside, ociLayout), problems);
      if (calls < at) break;
      const receipt = await archive.receipt(own.digest);
      if (receipt !== undefined) expect((await store.head(key))?.size).toBe(own.size);
      const { outcomes } = await mirror({ store, references });
      expect(outcomes.map(({ status }) => status)).not.toContain('failed');
      expect(await verify(archive)).toMatchObject({ problems: [], references: 1 });
    }
  });
});
