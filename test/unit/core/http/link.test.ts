import fc from 'fast-check';
import { expect, test } from 'vitest';
import { nextQuery, parseLinks } from '../../../../lib/core/http/link.ts';

// Registries send relative targets, and some proxies make them absolute.
test.each([
  ['</v2/a/tags/list?last=b&n=2>; rel="next"', '?last=b&n=2'],
  ['<https://registry.example/v2/a/tags/list?last=b>; rel=next', '?last=b'],
  ['<?last=b>;REL="prev NEXT"; title="x, <y>"', '?last=b'],
  ['</first>; rel="first", </next?a=1,2>; rel="next"', '?a=1,2'],
])('finds the next query in %s', (header, expected) => {
  expect(nextQuery(header)).toBe(expected);
});

test('finds no next page without a link of the relation next', () => {
  expect(nextQuery(undefined)).toBeUndefined();
  expect(nextQuery('</x>; rel="prev"')).toBeUndefined();
  expect(nextQuery('</x>')).toBeUndefined();
  expect(nextQuery('<http://[>; rel="next"')).toBe('');
});

test('parses arbitrary text without an error', () => {
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom('<', '>', ';', 'rel=', '"', ',', 'next', ' ', '\\') }), (text) => {
      parseLinks(text);
    }),
  );
});
