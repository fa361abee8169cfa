import fc from 'fast-check';
import { expect, test } from 'vitest';
import { nextQuery, parseLinks } from '../../../lib/registry/http/links.ts';

// Relative targets are what registries send, absolute ones what some proxies make of them.
test.each([
  ['</v2/a/tags/list?last=b&n=2>; rel="next"', '?last=b&n=2'],
  ['<https://registry.example/v2/a/tags/list?last=b>; rel=next', '?last=b'],
  ['<?last=b>;REL="prev NEXT"; title="x, <y>"', '?last=b'],
  ['</first>; rel="first", </next?a=1,2>; rel="next"', '?a=1,2'],
])('%s', (header, expected) => {
  expect(nextQuery(header)).toBe(expected);
});

// The last page has no link, or none to a next one.
test('there is no next page without a link that says next', () => {
  expect(nextQuery(undefined)).toBeUndefined();
  expect(nextQuery('</x>; rel="prev"')).toBeUndefined();
  expect(nextQuery('</x>')).toBeUndefined();
  expect(nextQuery('<http://[>; rel="next"')).toBe('');
});

test('anything is parsed without complaint', () => {
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom('<', '>', ';', 'rel=', '"', ',', 'next', ' ', '\\') }), (text) => {
      parseLinks(text);
    }),
  );
});
