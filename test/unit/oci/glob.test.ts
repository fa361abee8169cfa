import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Failure } from '../../../lib/core/failure.ts';
import { isLiteral, matchesGlob, parseGlob, parseIdentityGlob } from '../../../lib/oci/glob.ts';

const matches = (pattern: string, tag: string): boolean => matchesGlob(parseGlob(pattern), tag);

const tags = fc.stringMatching(/^[ab01._-]{1,8}$/);
const patterns = fc
  .array(fc.constantFrom('*', '?', 'a', 'b', '0', '.', '-', '[ab]', '[!a]', '[0-1]'), { minLength: 1, maxLength: 8 })
  .map((parts) => parts.join(''));

/** The same language as a regular expression, which may take exponential time. */
function asRegExp(pattern: string): RegExp {
  const source = pattern.replace(/\[!?[^\]]+\]|[*?.]/g, (part) => {
    if (part === '*') return '.*';
    if (part === '?') return '.';
    return part === '.' ? '\\.' : part.replace('[!', '[^');
  });
  return new RegExp(`^${source}$`);
}

describe('patterns', () => {
  test.each([
    ['3.*', ['3.20', '3.', '3.20.1-rc1'], ['3', '13.20', 'v3.20']],
    ['v?.?', ['v1.2'], ['v1.20', 'v12', '1.2']],
    ['[0-9]*', ['1', '3.20'], ['latest', 'v3']],
    ['[!0-9]*', ['latest', 'v3'], ['3.20']],
    ['[a-c-]x', ['ax', '-x'], ['dx', 'x']],
    ['*-alpine', ['3-alpine', '-alpine'], ['3-alpine3']],
    ['**', ['a', 'aa'], []],
    ['latest', ['latest'], ['latest-1', 'Latest']],
  ])('match and do not match the listed tags: %s', (pattern, taken, left) => {
    expect(taken.filter((tag) => matches(pattern, tag))).toEqual(taken);
    expect(left.filter((tag) => matches(pattern, tag))).toEqual([]);
  });

  test('agree with regular expressions of the same meaning', () => {
    fc.assert(
      fc.property(patterns, tags, (pattern, tag) => {
        expect(matches(pattern, tag)).toBe(asRegExp(pattern).test(tag));
      }),
      { numRuns: 2_000 },
    );
  });

  test('end soon for a pattern with exponential backtracking', () => {
    expect(matches(`${'*a'.repeat(60)}*b`, 'a'.repeat(128))).toBe(false);
  });

  test('match a tag without special characters only by itself', () => {
    fc.assert(
      fc.property(tags, tags, (tag, other) => {
        expect(isLiteral(tag)).toBe(true);
        expect(matches(tag, other)).toBe(tag === other);
      }),
    );
    expect(['3.*', '?', '[a]'].some(isLiteral)).toBe(false);
  });

  test.each([
    ['', 'it is empty'],
    ['a'.repeat(129), 'expected at most 128 characters, got 129'],
    ['/^v[0-9]+$/', 'not a regular expression'],
    ['alpine:3', 'tags cannot contain ":"'],
    ['{a,b}', 'tags cannot contain "{"'],
    ['v[0-9', 'is not closed'],
    ['v[]', '[] is empty'],
    ['v[!]', '[!] is empty'],
    ['v[9-0]', 'the range 9-0'],
    ['v[a/]', 'a character that tags cannot contain'],
    ['v[^a]', 'a character that tags cannot contain'],
  ])('refuse %j with the reason', (pattern, reason) => {
    expect(() => parseGlob(pattern)).toThrow(Failure);
    expect(() => parseGlob(pattern)).toThrow(reason);
  });

  test.each([
    [
      'https://github.com/o/r/.github/workflows/release.yml@refs/tags/*',
      [
        'https://github.com/o/r/.github/workflows/release.yml@refs/tags/v1.0',
        'https://github.com/o/r/.github/workflows/release.yml@refs/tags/a/b',
      ],
      [
        'https://github.com/o/r/.github/workflows/release.yml@refs/heads/main',
        'xhttps://github.com/o/r/.github/workflows/release.yml@refs/tags/v1',
      ],
    ],
    ['release@example.com', ['release@example.com'], ['release@example.com.evil.org', 'release@exampleXcom']],
    ['https://*.example.com', ['https://a.example.com'], ['https://example.com']],
  ])('of identities match and do not match the listed identities: %s', (pattern, taken, left) => {
    const glob = parseIdentityGlob(pattern);
    expect(taken.filter((identity) => matchesGlob(glob, identity))).toEqual(taken);
    expect(left.filter((identity) => matchesGlob(glob, identity))).toEqual([]);
  });

  test.each([
    ['', 'it is empty'],
    ['a b', 'identities cannot contain " "'],
    ['a'.repeat(1025), 'expected at most 1024 characters, got 1025'],
    ['[', 'is not closed'],
  ])('of identities refuse %j with the reason', (pattern, reason) => {
    expect(() => parseIdentityGlob(pattern)).toThrow(reason);
  });
});
