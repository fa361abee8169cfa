import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Lru } from '../../../lib/core/lru.ts';

test('evicts the least recently used entry first', () => {
  const lru = new Lru<string, number>(2);
  lru.set('a', 1);
  lru.set('b', 2);
  expect(lru.get('a')).toBe(1);
  lru.set('c', 3);
  expect([lru.get('a'), lru.get('b'), lru.get('c')]).toEqual([1, undefined, 3]);
});

test('does not store an entry above the limit, and evicts only as many entries as necessary', () => {
  const lru = new Lru<string, string>(4, (text) => text.length);
  lru.set('a', 'aa');
  lru.set('b', 'bbbbb');
  expect(lru.get('b')).toBeUndefined();
  lru.set('c', 'cc');
  lru.set('d', 'dd');
  expect([lru.get('c'), lru.get('d')]).toEqual(['cc', 'dd']);
});

test('counts only the new weight of an entry that is set again', () => {
  const lru = new Lru<string, string>(4, (text) => text.length);
  lru.set('a', 'aaaa');
  lru.set('a', 'a');
  lru.set('b', 'bbb');
  expect([lru.get('a'), lru.get('b')]).toEqual(['a', 'bbb']);
});

test('contains exactly the most recently used entries that fit, after any sequence of sets and gets', () => {
  const operation = fc.record({
    key: fc.integer({ min: 0, max: 5 }),
    weight: fc.option(fc.integer({ min: 0, max: 6 }), { nil: undefined }),
  });
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 12 }), fc.array(operation, { maxLength: 60 }), (limit, operations) => {
      const lru = new Lru<number, number>(limit, (weight) => weight);
      let model: { key: number; weight: number }[] = [];
      for (const { key, weight } of operations) {
        const known = model.find((entry) => entry.key === key);
        if (weight === undefined) {
          expect(lru.get(key)).toBe(known?.weight);
          if (known !== undefined) model = [...model.filter((entry) => entry !== known), known];
        } else {
          lru.set(key, weight);
          model = [...model.filter((entry) => entry !== known), { key, weight }];
          while (model.reduce((sum, entry) => sum + entry.weight, 0) > limit) model.shift();
        }
      }
    }),
  );
});
