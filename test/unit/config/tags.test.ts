import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ALL_TAGS, selectTags, type TagSelection, wantsTag } from '../../../lib/config/tags.ts';

const UPSTREAM = ['latest', 'edge', '3.19', '3.20', '3.20.1', '3.20.2', '3.21-rc1', '3.21', 'sha-4f2a'];

const filtered = (filter: { include?: string[]; exclude?: string[]; newest?: number }): TagSelection => ({
  kind: 'filtered',
  include: ['*'],
  exclude: [],
  ...filter,
});

const tags = fc.array(
  fc.oneof(
    fc.tuple(fc.nat(5), fc.nat(12)).map(([major, minor]) => `${major}.${minor}`),
    fc.constantFrom('latest', 'edge', '1.0-rc1', 'v2.3', 'sha-1'),
  ),
  { maxLength: 30 },
);
const patterns = fc.array(fc.constantFrom('*', '1.*', '[2-5].*', '*-rc*', 'latest', '1.1', 'e*'), { maxLength: 3 });
const selections: fc.Arbitrary<TagSelection> = fc.oneof(
  fc.record({ kind: fc.constant('listed' as const), tags }),
  fc.record(
    {
      kind: fc.constant('filtered' as const),
      include: patterns.filter(({ length }) => length > 0),
      exclude: patterns,
      newest: fc.integer({ min: 1, max: 6 }),
    },
    { requiredKeys: ['kind', 'include', 'exclude'] },
  ),
);

describe('a selection of tags', () => {
  test.each<[string, TagSelection, string[]]>([
    ['all of them', ALL_TAGS, UPSTREAM],
    ['a list, where upstream has them', { kind: 'listed', tags: ['3.20', 'gone'] }, ['3.20']],
    ['a pattern', filtered({ include: ['3.20*'] }), ['3.20', '3.20.1', '3.20.2']],
    ['a pattern but not another', filtered({ include: ['3.*'], exclude: ['*-rc*', '3.20*'] }), ['3.19', '3.21']],
    ['the newest versions', filtered({ newest: 2 }), ['3.21-rc1', '3.21']],
    ['the newest releases', filtered({ newest: 2, exclude: ['*-*'] }), ['3.20.2', '3.21']],
    ['the newest, and one by its name', filtered({ include: ['latest', '3.*'], newest: 1 }), ['latest', '3.21']],
    ['a version by its name is not counted', filtered({ include: ['3.19', '3.*'], newest: 1 }), ['3.19', '3.21']],
    ['also where it is the newest', filtered({ include: ['3.21', '3.*'], newest: 1 }), ['3.21-rc1', '3.21']],
    ['what is excluded, even by its name', filtered({ include: ['latest'], exclude: ['l*'] }), []],
  ])('selects %s', (_, selection, selected) => {
    expect(selectTags(UPSTREAM, selection)).toEqual(selected);
  });

  test('is a part of the list, in the same order and without repetitions, and is stable', () => {
    fc.assert(
      fc.property(tags, selections, (there, selection) => {
        const selected = selectTags(there, selection);
        const once = [...new Set(there)];
        expect(selected).toEqual(once.filter((tag) => selected.includes(tag)));
        expect(selectTags(selected, selection)).toEqual(selected);
      }),
    );
  });

  test('does not depend on the order of the list', () => {
    fc.assert(
      fc.property(tags, selections, (there, selection) => {
        expect(selectTags(there.toReversed(), selection).toSorted()).toEqual(selectTags(there, selection).toSorted());
      }),
    );
  });

  test('is the same page by page, with only the candidates in memory', () => {
    fc.assert(
      fc.property(fc.array(tags, { maxLength: 4 }), selections, (pages, selection) => {
        const kept = pages.reduce((sofar, page) => selectTags([...sofar, ...page], selection), []);
        expect(kept.toSorted()).toEqual(selectTags(pages.flat(), selection).toSorted());
      }),
    );
  });

  // A webhook names one tag.
  test('decides on a single tag without the others', () => {
    fc.assert(
      fc.property(tags, selections, (there, selection) => {
        const selected = new Set(selectTags(there, selection));
        for (const tag of there) {
          const wants = wantsTag(tag, selection);
          if (wants !== 'depends') expect(selected.has(tag)).toBe(wants === 'yes');
          else expect(selectTags([tag], selection)).toEqual([tag]);
        }
      }),
    );
  });
});
