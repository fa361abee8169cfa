import { describe, expect, test } from 'vitest';
import type { Archive } from '../../../lib/archive/archive.ts';
import { repairArchive } from '../../../lib/mirror/repair.ts';
import { type Verified, verifyArchive } from '../../../lib/mirror/verify.ts';
import { parseDigest } from '../../../lib/oci/digest.ts';
import { sha256 } from '../../kit/content.ts';
import { makeImage, makeLayer } from '../../kit/images.ts';
import { MemoryStore } from '../../kit/memory-store.ts';
import { mirror } from '../../kit/mirror.ts';
import { startRegistry } from '../../kit/registry.ts';

const signal = new AbortController().signal;

function verify(archive: Archive): Promise<Verified> {
  return verifyArchive(archive, { signal, concurrency: 2 });
}

const [shared, own] = [makeLayer({ seed: 1 }), makeLayer({ seed: 2 })];
const broken = makeImage({ layers: [shared, own] });
const sound = makeImage({ layers: [shared] });

describe('a repair', () => {
  // A layer, a manifest or a config rots or is lost; the repair takes out the one image, and a sync brings it back whole.
  test.for([
    ['a layer with a flipped byte', own.digest, 'flip'],
    ['a layer that is gone', own.digest, 'delete'],
    ['a manifest with a flipped byte', broken.digest, 'flip'],
    ['a config that is gone', sha256(broken.config), 'delete'],
  ] as const)('of %s', async ([, digest, damage]) => {
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
    expect(await repairArchive(archive, problems, { signal })).toEqual(new Set([references[0]]));
    expect(await verify(archive)).toMatchObject({ problems: [], references: 1 });

    const { outcomes } = await mirror({ store, references });
    expect(outcomes.map(({ status }) => status)).toEqual(['mirrored', 'unchanged']);
    expect(await verify(archive)).toMatchObject({ problems: [], references: 2 });
  });

  // An image whose shared layer rots takes all images of that layer with it, and nothing else.
  test('of a layer that two images share', async () => {
    await using registry = await startRegistry();
    registry.push('team/a', broken, 'v1');
    registry.push('team/b', sound, 'v1');
    registry.push('team/c', makeImage({ layers: [own] }), 'v1');
    const store = new MemoryStore();
    const references = ['a', 'b', 'c'].map((name) => `${registry.host}/team/${name}:v1`);
    const { archive } = await mirror({ store, references });
    await store.delete(archive.layout.blob(parseDigest(shared.digest)));
    const { problems } = await verify(archive);
    expect(await repairArchive(archive, problems, { signal })).toEqual(new Set(references.slice(0, 2)));
    const { outcomes } = await mirror({ store, references });
    expect(outcomes.map(({ status }) => status)).toEqual(['mirrored', 'mirrored', 'unchanged']);
    expect(await verify(archive)).toMatchObject({ problems: [], references: 3 });
  });
});
