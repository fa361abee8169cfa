import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { compareVersions, isVersion } from '../../../lib/config/version.ts';

const number = fc.oneof(fc.nat(30).map(String), fc.constantFrom('00', '01', '010', '99999999999999999999'));
const versions = fc
  .tuple(
    fc.constantFrom('', 'v', 'V'),
    fc.array(number, { minLength: 1, maxLength: 4 }),
    fc.constantFrom('', '-rc1', '-rc2', '-rc10', '-alpine3.9', '-alpine3.20', '_x', '+build'),
  )
  .map(([v, numbers, suffix]) => `${v}${numbers.join('.')}${suffix}`);
const tags = fc.oneof(versions, fc.stringMatching(/^\w[\w.-]{0,12}$/));

describe('the order of versions', () => {
  // The lists start with the oldest version.
  test.each([
    ['numbers are numbers', ['3.9', '3.20', '3.100', '20']],
    ['more numbers are newer than a tag that moves over them', ['3', '3.20', '3.20.0', '3.20.1']],
    ['a pre-release comes before its release', ['1.0-alpha', '1.0-rc2', '1.0-rc10', '1.0', '1.1-rc1']],
    ['a v means nothing', ['v1.0', 'v1.1', '1.2', 'v1.3']],
    ['suffixes are in natural order', ['1.0-alpine3.9', '1.0-alpine3.20', '1.0']],
    ['dates', ['2024.1.31', '2024.2.1', '20240101', '20240923']],
    ['numbers beyond what a double is exact in', ['1.9007199254740992', '1.9007199254740993']],
    ['what is not a version is older than what is one', ['edge', 'latest', '0.1']],
    ['without a separator', ['1.0a1', '1.0b2', '1.0']],
  ])('sorts any shuffle of each list: %s', (_, ordered) => {
    fc.assert(
      fc.property(fc.shuffledSubarray(ordered, { minLength: ordered.length }), (shuffled) => {
        expect(shuffled.toSorted(compareVersions)).toEqual(ordered);
      }),
    );
  });

  test('is total, antisymmetric and transitive, and equal versions have the same text', () => {
    fc.assert(
      fc.property(tags, tags, tags, (a, b, c) => {
        expect(Math.sign(compareVersions(a, b))).toBe(-Math.sign(compareVersions(b, a)) + 0);
        expect(compareVersions(a, b) === 0).toBe(a === b);
        if (compareVersions(a, b) <= 0 && compareVersions(b, c) <= 0)
          expect(compareVersions(a, c)).toBeLessThanOrEqual(0);
      }),
      { numRuns: 2_000 },
    );
  });

  // Moving names and commit hashes are not versions.
  test.each([
    ['3', true],
    ['v1.2.3', true],
    ['1.27.0-alpine', true],
    ['2.0rc1', true],
    ['20240923', true],
    ['latest', false],
    ['4f2a9c1', false],
    ['sha-4f2a9c1', false],
    ['v', false],
    ['alpine3.20', false],
  ])('counts %s as a version: %s', (tag, is) => {
    expect(isVersion(tag)).toBe(is);
  });
});
