import fc from 'fast-check';
import { expect, test } from 'vitest';
import { landed, lost, newEtag, parseJournal } from '../../../lib/store/folder/journal.ts';
import type { Part } from '../../../lib/store/store.ts';

const part = fc
  .record({ number: fc.integer({ min: 1, max: 10_000 }), size: fc.nat() })
  .map((fields): Part => ({ ...fields, etag: newEtag() }));

test('the last record of a part counts', () => {
  const [first, second, third] = [1, 1, 2].map((number) => ({ number, size: 10, etag: newEtag() }));
  if (first === undefined || second === undefined || third === undefined) return;
  const text = landed(first) + landed(third) + lost(1);
  expect([...parseJournal(text).values()]).toEqual([third]);
  expect([...parseJournal(text + landed(second)).values()]).toEqual([third, second]);
  expect(parseJournal('').size).toBe(0);
});

// The disk was full or the process was killed after any number of characters.
test('a torn record is ignored, and the records after it are read', () => {
  fc.assert(
    fc.property(fc.array(part), part, fc.nat(), fc.array(part), (before, torn, length, after) => {
      const whole = landed(torn);
      // A record that only lacks its newline is complete once another one follows.
      const cut = whole.slice(0, length % (whole.length - 1));
      const text = [...before.map(landed), cut, ...after.map(landed)].join('');
      expect(parseJournal(text)).toEqual(new Map([...before, ...after].map((one) => [one.number, one])));
    }),
  );
});

test('a line that is not a record is ignored', () => {
  const etag = newEtag();
  for (const line of [
    `0 10 ${etag}`,
    `1 10 ${etag}0`,
    `1 -1 ${etag}`,
    `1 10`,
    `1 10 ${etag.toUpperCase()}G`,
    ` 1 10 ${etag}`,
  ])
    expect(parseJournal(`\n${line}\n`).size, line).toBe(0);
});
