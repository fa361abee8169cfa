import { describe, expect, test } from 'vitest';
import { verifyArchive } from '../../../lib/upkeep/verify.ts';
import { makeImage, makeLayer } from '../../kit/images.ts';
import { MemoryStore } from '../../kit/memory-store.ts';
import { mirror } from '../../kit/mirror.ts';
import { poisoned } from '../../kit/poisoned.ts';
import { startRegistry } from '../../kit/registry.ts';

describe('an invalid image', () => {
  test.for(poisoned())(
    'is refused without a tag while a valid image of the same run is mirrored: $name ($code)',
    async (poison) => {
      const { code } = poison;
      await using registry = await startRegistry();
      poison.push(registry, 'bad/image', 'v1');
      const good = makeImage({ layers: [makeLayer({ seed: 1 }), makeLayer({ seed: 2, compression: 'zstd' })] });
      registry.push('good/image', good, 'v1');
      const store = new MemoryStore();
      const bad = `${registry.host}/bad/image:v1`;
      const { archive, outcomes, events } = await mirror({
        store,
        references: [bad, `${registry.host}/good/image:v1`],
      });

      const failed = outcomes.find(({ reference }) => reference === bad);
      expect(failed).toMatchObject({ status: 'failed' });
      expect(failed?.reason).toContain(`${registry.host}/bad/image`);
      expect(events.find((event) => event.type === 'image' && event.status === 'failed')).toMatchObject({ code });
      expect((await archive.tagIndex(`${registry.host}/bad/image`))?.index.byTag('v1')).toBeUndefined();
      expect((await archive.tagIndex(`${registry.host}/good/image`))?.index.byTag('v1')?.digest).toBe(good.digest);
      const verified = await verifyArchive(archive, { signal: new AbortController().signal, concurrency: 2 });
      expect(verified).toMatchObject({ references: 1, problems: [] });
    },
  );
});
