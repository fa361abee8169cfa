import fc from 'fast-check';
import { expect, test } from 'vitest';
import { nextPage, parseLinks } from '../../../lib/registry/links.ts';

const base = new URL('https://registry.example/v2/a/tags/list?n=2');

// Relative targets are what registries send, absolute ones what some proxies make of them.
test.each([
  ['</v2/a/tags/list?last=b&n=2>; rel="next"', 'https://registry.example/v2/a/tags/list?last=b&n=2'],
  ['<https://registry.example/v2/a/tags/list?last=b>; rel=next', 'https://registry.example/v2/a/tags/list?last=b'],
  ['<?last=b>;REL="prev NEXT"; title="x, <y>"', 'https://registry.example/v2/a/tags/list?last=b'],
  ['</first>; rel="first", </next?a=1,2>; rel="next"', 'https://registry.example/next?a=1,2'],
])('%s', (header, expected) => {
  expect(nextPage(header, base)?.href).toBe(expected);
});

// The last page has no link, or none to a next one.
test('there is no next page without a link that says next', () => {
  expect(nextPage(undefined, base)).toBeUndefined();
  expect(nextPage('</x>; rel="prev"', base)).toBeUndefined();
  expect(nextPage('</x>', base)).toBeUndefined();
  expect(nextPage('<http://[>; rel="next"', base)).toBeUndefined();
});

test('anything is parsed without complaint', () => {
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom('<', '>', ';', 'rel=', '"', ',', 'next', ' ', '\\') }), (text) => {
      parseLinks(text);
    }),
  );
});
