import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Failure } from '../../../lib/core/failure.ts';
import {
  ANNOTATIONS,
  covers,
  scopesOf,
  type TagChange,
  type TagEntry,
  TagIndex,
} from '../../../lib/archive/tag-index/tag-index.ts';
import { formatPlatform } from '../../../lib/oci/platform.ts';
import { after, AMD64, ARM64, digest, history, MEDIA_TYPE, saw, WINDOWS } from './observations.ts';

function documentOf(index: TagIndex): { manifests: { digest: string; annotations: Record<string, string> }[] } {
  return JSON.parse(Buffer.from(index.serialise()).toString()) as ReturnType<typeof documentOf>;
}

function reread(index: TagIndex): TagIndex {
  return TagIndex.parse(index.serialise(), 'index.json');
}

function parse(document: unknown): TagIndex {
  return TagIndex.parse(Buffer.from(JSON.stringify(document)), 'r/index.json');
}

function textOf(index: TagIndex): string {
  return Buffer.from(index.serialise()).toString();
}

describe('observations', () => {
  test('give the same index, byte for byte, in any order, batches and repetitions', () => {
    fc.assert(
      fc.property(history(), fc.infiniteStream(fc.nat()), (changes, random) => {
        const expected = textOf(after(...changes));
        let index = TagIndex.empty();
        for (const batch of shuffled(changes, random)) index = reread(index.apply(batch).index);
        expect(textOf(index)).toBe(expected);
      }),
    );
  });

  test('let the newest digest win, and keep every earlier digest once with its times', () => {
    fc.assert(
      fc.property(history(), (changes) => {
        const index = after(...changes);
        for (const tag of [undefined, ...new Set(changes.flatMap((change) => change.tag ?? []))]) {
          const ofTag = changes.filter((change) => change.tag === tag).sort((a, b) => b.observed - a.observed);
          const entries = index.entries().filter((entry) => (entry.tag ?? entry.hadTag) === tag);
          expect(entries.map((entry) => entry.digest).sort()).toEqual(
            [...new Set(ofTag.map((change) => change.descriptor.digest))].sort(),
          );
          for (const entry of entries) {
            const same = ofTag.filter((change) => change.descriptor.digest === entry.digest);
            expect(entry.observed).toBe(same[0]?.observed);
            for (const change of same) expect(covers(entry, change)).toBe(true);
            const isNewest = ofTag[0]?.descriptor.digest === entry.digest;
            expect(entry.tag).toBe(isNewest ? tag : undefined);
            if (tag === undefined || isNewest) expect(entry.replaced).toBeUndefined();
            else expect(entry.replaced).toBeGreaterThan(entry.observed);
          }
        }
      }),
    );
  });

  test('may return a tag to an old digest, and the replaced digest is kept', () => {
    const index = after(saw('v1', 'a', 1000), saw('v1', 'b', 2000), saw('v1', 'a', 3000));
    expect(index.byTag('v1')).toMatchObject({ digest: digest('a'), observed: 3000, replaced: undefined });
    expect(index.entries()).toHaveLength(2);
    expect(index.entries()[1]).toMatchObject({
      tag: undefined,
      hadTag: 'v1',
      digest: digest('b'),
      observed: 2000,
      replaced: 3000,
    });
  });

  test('of an unchanged digest count, so that an older observation cannot move the tag back', () => {
    const index = after(saw('v1', 'a', 1000), saw('v1', 'a', 3000));
    const { index: late, outcomes } = index.apply([saw('v1', 'b', 2000)]);
    expect(outcomes).toEqual(['older']);
    expect(late.byTag('v1')?.digest).toBe(digest('a'));
    expect(late.byDigest(digest('b'))).toMatchObject({ hadTag: 'v1', replaced: 3000 });
  });

  test('of the same instant change nothing', () => {
    const { index, outcomes } = after(saw('v1', 'a', 1000)).apply([saw('v1', 'b', 1000)]);
    expect(outcomes).toEqual(['older']);
    expect(index.byTag('v1')?.digest).toBe(digest('a'));
    expect(index.byDigest(digest('b'))?.hadTag).toBe('v1');
  });

  test('return the effect of each change', () => {
    const changes = [
      saw('v1', 'a', 2000),
      saw('v1', 'b', 1000),
      saw('v1', 'a', 2000),
      saw('v2', 'a', 1),
      saw(undefined, 'a', 1),
    ];
    const { index, outcomes } = TagIndex.empty().apply(changes);
    expect(outcomes).toEqual(['written', 'older', 'unchanged', 'written', 'written']);
    expect(index.apply([saw('v1', 'a', 3000), saw(undefined, 'a', 3000)]).outcomes).toEqual(['unchanged', 'unchanged']);
    expect(index.apply([saw('v1', 'c', 3000)]).outcomes).toEqual(['written']);
  });

  test('of a repeated message give the same index, which is not written', () => {
    const changes = [saw('v1', 'a', 2000), saw('v1', 'b', 1000, [AMD64]), saw(undefined, 'c', 1)];
    const index = reread(after(...changes));
    expect(index.apply([...changes, saw('v1', 'a', 2000, [ARM64])]).index).toBe(index);
    expect(index.apply([]).index).toBe(index);
  });

  test('do not modify the index that they are applied to', () => {
    const index = after(saw('v1', 'a', 1000), saw('v1', 'b', 2000));
    const before = textOf(index);
    index.apply([saw('v1', 'a', 3000), saw('v2', 'c', 1), saw(undefined, 'd', 1), saw('v1', 'e', 500)]);
    expect(textOf(index)).toBe(before);
  });

  test('by digest neither add nor remove a tag', () => {
    const index = reread(after(saw(undefined, 'a', 1000), saw('v1', 'a', 1000), saw('v1', 'b', 2000)));
    const [tagged, byDigest, left] = documentOf(index).manifests.map(({ annotations }) => annotations);
    expect(tagged?.[ANNOTATIONS.tag]).toBe('v1');
    expect(byDigest).toEqual({ [ANNOTATIONS.observed]: '1970-01-01T00:00:01.000Z', [ANNOTATIONS.platforms]: 'all' });
    expect(left?.[ANNOTATIONS.hadTag]).toBe('v1');
    expect(index.byTag('v1')?.digest).toBe(digest('b'));
  });
});

test('an index of more tags than other documents may have values is read', () => {
  const descriptor = { mediaType: MEDIA_TYPE, digest: digest('a'), size: 1 };
  const manifests = Array.from({ length: 20_000 }, (_, n) => ({
    ...descriptor,
    annotations: {
      [ANNOTATIONS.tag]: `t${n}`,
      [ANNOTATIONS.observed]: '2026-01-01T00:00:00.000Z',
      [ANNOTATIONS.platforms]: 'all',
    },
  }));
  expect(parse({ schemaVersion: 2, manifests }).size).toBe(20_000);
});

describe('platforms', () => {
  test('that are proven add up over observations', () => {
    let index = after(saw('v1', 'a', 1000, [ARM64, AMD64]));
    const names = (): string => documentOf(index).manifests[0]?.annotations[ANNOTATIONS.platforms] ?? '';
    expect(names()).toBe('linux/amd64,linux/arm64');
    const wider = index.apply([saw('v1', 'a', 1000, [WINDOWS])]);
    expect(wider.outcomes).toEqual(['written']);
    index = reread(wider.index);
    expect(names()).toBe(`linux/amd64,linux/arm64,${formatPlatform(WINDOWS)}`);
    const narrower = index.apply([saw('v1', 'a', 1000, [ARM64])]);
    expect(narrower.index).toBe(index);
    expect(narrower.outcomes).toEqual(['unchanged']);
    index = index.apply([saw('v1', 'a', 1000, 'all')]).index;
    expect(names()).toBe('all');
    expect(index.apply([saw('v1', 'a', 1000, [AMD64])]).index).toBe(index);
  });

  test('of a digest stay proven when a tag returns to it', () => {
    const index = after(saw('v1', 'a', 1000, [AMD64]), saw('v1', 'b', 2000), saw('v1', 'a', 3000, [ARM64]));
    expect(index.byTag('v1')?.platforms).toEqual([AMD64, ARM64]);
  });

  test('cover each other as all, equal or a subset', () => {
    const holds = (platforms: TagEntry['platforms'], wanted: TagChange['platforms']): boolean =>
      covers({ platforms, skipping: undefined }, { platforms: wanted });
    expect(holds('all', 'all')).toBe(true);
    expect(holds('all', [AMD64])).toBe(true);
    expect(holds([AMD64, ARM64], [ARM64])).toBe(true);
    expect(holds([AMD64], [AMD64, ARM64])).toBe(false);
    expect(holds([AMD64], 'all')).toBe(false);
    expect(holds(undefined, [AMD64])).toBe(false);
  });

  // Windows is proven without its non-distributable layers, then Linux with all layers.
  test('that were proven without foreign layers do not prove these layers', () => {
    const index = reread(after(saw('v1', 'a', 1000, [WINDOWS], 'skip'), saw('v1', 'a', 2000, [AMD64])));
    const entry = index.byTag('v1')!;
    expect(covers(entry, { platforms: [WINDOWS] })).toBe(false);
    expect(covers(entry, { platforms: [AMD64] })).toBe(true);
    expect(covers(entry, { platforms: [AMD64, WINDOWS], foreignLayers: 'skip' })).toBe(true);
    expect(scopesOf(entry)).toEqual([{ platforms: [AMD64] }, { platforms: [WINDOWS], foreignLayers: 'skip' }]);
    const { index: whole, outcomes } = index.apply([saw('v1', 'a', 3000, 'all')]);
    expect(outcomes).toEqual(['written']);
    expect(scopesOf(whole.byTag('v1')!)).toEqual([{ platforms: 'all' }]);
    expect(index.apply([saw('v1', 'a', 3000, [WINDOWS], 'skip')]).outcomes).toEqual(['unchanged']);
  });

  test('of all entries of a digest are combined in a lookup by digest', () => {
    for (const order of [
      [0, 1],
      [1, 0],
    ]) {
      const changes = [saw('v1', 'a', 1000, 'all'), saw('v2', 'a', 1000, [AMD64])];
      const index = after(...order.flatMap((at) => changes[at] ?? []));
      expect(index.byDigest(digest('a'))?.platforms).toBe('all');
    }
    expect(after().byDigest(digest('a'))).toBeUndefined();
  });
});

describe('documents', () => {
  test('have the form that other tools read', () => {
    const index = after(saw('3.20', 'a', Date.UTC(2026, 0, 31, 1, 2, 3, 4), [AMD64]));
    expect(documentOf(index)).toEqual({
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.index.v1+json',
      annotations: { 'dev.mirror-sync.format': '1.1' },
      manifests: [
        {
          mediaType: MEDIA_TYPE,
          digest: digest('a'),
          size: 1,
          annotations: {
            'dev.mirror-sync.observed': '2026-01-31T01:02:03.004Z',
            'dev.mirror-sync.platforms': 'linux/amd64',
            'org.opencontainers.image.ref.name': '3.20',
          },
        },
      ],
    });
    expect(documentOf(after())).toMatchObject({ manifests: [] });
    expect(textOf(reread(after()))).toBe(textOf(after()));
  });

  test('keep unknown entries and annotations, and a tag of another tool can move on', () => {
    const plain = { mediaType: MEDIA_TYPE, digest: digest('x'), size: 1 };
    const odd = { ...plain, data: 'eA==', 'x-unknown': [1], annotations: { 'com.example': 'y' } };
    const tag = { ...odd, digest: digest('t'), annotations: { [ANNOTATIONS.tag]: 'v1', 'com.example': 'z' } };
    const index = parse({
      schemaVersion: 2,
      annotations: { of: 'index' },
      'x-more': 1,
      manifests: [odd, tag, plain, odd],
    });
    expect(index.byTag('v1')).toMatchObject({ digest: digest('t'), observed: 0, platforms: undefined });
    const moved = documentOf(index.apply([saw('v1', 'b', 1000)]).index);
    expect(moved).toMatchObject({ schemaVersion: 2, annotations: { of: 'index' }, 'x-more': 1 });
    expect(moved.manifests.slice(1)).toEqual([
      {
        ...tag,
        annotations: {
          'com.example': 'z',
          [ANNOTATIONS.hadTag]: 'v1',
          [ANNOTATIONS.replaced]: '1970-01-01T00:00:01.000Z',
        },
      },
      odd,
      plain,
      odd,
    ]);
    expect(textOf(parse(moved))).toBe(textOf(index.apply([saw('v1', 'b', 1000)]).index));
  });

  test.each<readonly [string, string | Buffer, string]>([
    ['no JSON', '{', 'not JSON'],
    ['no UTF-8', Buffer.from([0x22, 0xff, 0x22]), 'UTF-8'],
    ['no index', '[]', 'object'],
    ['another schema', '{"schemaVersion":1,"manifests":[]}', 'schemaVersion'],
    ['no manifests', '{"schemaVersion":2}', 'manifests'],
    ['no digest', withEntry({ digest: 'sha256:abc' }), 'manifests[1].digest'],
    ['no size', withEntry({ size: -1 }), 'manifests[1].size'],
    [
      'an odd time',
      withEntry({ annotations: { [ANNOTATIONS.observed]: '2026-01-31' } }),
      `manifests[1].annotations.${ANNOTATIONS.observed}`,
    ],
    [
      'a time that no date can hold',
      withEntry({ annotations: { [ANNOTATIONS.observed]: '+999999-01-01T00:00:00.000Z' } }),
      `manifests[1].annotations.${ANNOTATIONS.observed}`,
    ],
    ...[ANNOTATIONS.observed, ANNOTATIONS.replaced].map(
      (name) =>
        [
          `a time after now (${name})`,
          withEntry({ annotations: { [name]: '9999-01-01T00:00:00.000Z' } }),
          `manifests[1].annotations.${name}: is 9999-01-01T00:00:00.000Z, more than 15 minutes after the clock`,
        ] as const,
    ),
    [
      'an odd platform',
      withEntry({ annotations: { [ANNOTATIONS.platforms]: 'linux' } }),
      `manifests[1].annotations.${ANNOTATIONS.platforms}`,
    ],
    ['a tag twice', withEntry({ annotations: { [ANNOTATIONS.tag]: 'v1' } }), 'manifests[1]: the tag v1'],
  ])('with %s are refused, and the error names the place', (_, document, place) => {
    const error = thrownBy(() =>
      TagIndex.parse(typeof document === 'string' ? Buffer.from(document) : document, 'r/index.json'),
    );
    expect(error).toMatchObject({ code: 'corrupt', side: 'archive', remedy: 'never' });
    expect(error.message).toContain('r/index.json');
    expect(error.message).toContain(place);
  });

  test.each([
    [15 * 60_000, true],
    [15 * 60_000 + 1, false],
  ])('with an observation %d ms in the future are accepted: %j', (ahead, isRead) => {
    const now = Date.UTC(2026, 0, 31);
    const text = withEntry({ annotations: { [ANNOTATIONS.observed]: new Date(now + ahead).toISOString() } });
    const reading = (): unknown => TagIndex.parse(Buffer.from(text), 'r/index.json', now);
    if (isRead) expect(reading).not.toThrow();
    else expect(reading).toThrow('more than 15 minutes after the clock of this machine (2026-01-31T00:00:00.000Z)');
  });

  test('of ten thousand entries share all untouched entries with the updated index', () => {
    const many = Array.from({ length: 10_000 }, (_, n) => saw(`v${n}`, `image ${n}`, 1000 + n));
    const index = reread(after(...many));
    const changes = Array.from({ length: 100 }, (_, n) => saw(`v${n * 7}`, `newer ${n}`, 1_000_000));
    const { index: next, outcomes } = index.apply(changes);
    expect(new Set(outcomes)).toEqual(new Set(['written']));
    expect(next.entries()).toHaveLength(10_100);
    expect(next.byTag('v7')?.digest).toBe(digest('newer 1'));
    expect(next.byTag('v8')).toBe(index.byTag('v8'));
  });
});

function shuffled(changes: readonly TagChange[], random: fc.Stream<number>): TagChange[][] {
  const next = (below: number): number => (random.next().value ?? 0) % below;
  const all = [...changes, ...changes.filter(() => next(3) === 0)];
  for (let at = all.length - 1; at > 0; at -= 1) {
    const other = next(at + 1);
    [all[at], all[other]] = [all[other]!, all[at]!];
  }
  const batches: TagChange[][] = [];
  while (all.length > 0) batches.push(all.splice(0, 1 + next(4)));
  return batches;
}

function withEntry(fields: Record<string, unknown>): string {
  const good = { mediaType: MEDIA_TYPE, digest: digest('x'), size: 1, annotations: { [ANNOTATIONS.tag]: 'v1' } };
  return JSON.stringify({ schemaVersion: 2, manifests: [good, { ...good, annotations: {}, ...fields }] });
}

function thrownBy(work: () => unknown): Failure {
  try {
    work();
  } catch (error) {
    if (error instanceof Failure) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}
