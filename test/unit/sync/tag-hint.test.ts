import { expect, test } from 'vitest';
import { tagHint } from '../../../lib/sync/resolver/tag-hint.ts';

test('says that the repository has no tags', () => {
  expect(tagHint([], '1')).toBe('upstream has no tags in this repository');
  expect(tagHint(['1', '2'], '1')).toBe('upstream lists this tag nevertheless');
});

test('names at most five tags, beginning with those most similar to the missing one', () => {
  expect(tagHint(['edge', '3.9', '3.20'], '3.21')).toBe(
    'upstream has 3.20, 3.9, edge; --all-tags, or tags: all in mirror.yaml, mirrors all of them',
  );
  expect(tagHint(['a', 'b', 'c', 'd', 'e'], '1')).toBe(
    'upstream has a, b, c, d, e; --all-tags, or tags: all in mirror.yaml, mirrors all of them',
  );
  expect(tagHint(['a', 'b', 'c', 'd', 'e', '10', 'f'], '1')).toBe(
    'upstream has 10, a, b, c, d and 2 more; --all-tags, or tags: all in mirror.yaml, mirrors all of them',
  );
});

test('names a tag first if it starts with the whole missing tag', () => {
  expect(tagHint(['v', 'v1-alpine'], 'v1')).toMatch(/^upstream has v1-alpine, v;/);
});
