import fc from 'fast-check';
import { expect, test } from 'vitest';
import { nextQuery, parseLinks } from '../../../../lib/core/http/link.ts';

// Registries send relative targets, and some proxies make them absolute.
test.each([
  ['</v2/a/tags/list?last=b&n=2>; rel="next"', '?last=b&n=2'],
  ['<https://registry.example/v2/a/tags/list?last=b>; rel=next', '?last=b'],
  ['<?last=b>;REL="prev NEXT"; title="x, <y>"', '?last=b'],
  ['</first>; rel="first", </next?a=1,2>; rel="next"', '?a=1,2'],
  [['</a?b>; rel="prev"', '</c?d>; rel="next"'], '?d'],
  ['</a?b>; rel="next"; "', '?b'],
  ['</a?b>; rel="prev"; rel="next", </c?d>', '?d'],
])('finds the next query in %s', (header, expected) => {
  expect(nextQuery(header)).toBe(expected);
});

test('finds no next page without a link of the relation next', () => {
  expect(nextQuery(undefined)).toBeUndefined();
  for (const header of [
    '',
    ' , ',
    '</x>; rel="prev"',
    '</x?y>; rel="prev"; rel="next"',
    '</x>',
    '</x>; title="rel=next"',
  ])
    expect(nextQuery(header), header).toBeUndefined();
});

test.each([
  ['names no query', '<http://[>; rel="next"'],
  ['cannot be read', '</a?b'],
  ['cannot be read after its first link', '</a?b>; rel="prev", <'],
  ['has an open quote', '</a?b>; title="x; rel="next"'],
  ['has an open quote before another link', '</a?b>; rel="next, </c?d>; rel="prev"'],
])('finds an unknown next page in a header that %s', (_, header) => {
  expect(nextQuery(header)).toBe('');
});

test('parses arbitrary text without an error', () => {
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom('<', '>', ';', 'rel=', '"', ',', 'next', ' ', '\\') }), (text) => {
      parseLinks(text);
    }),
  );
});

test.each([
  ['<https://help.test/?topic=tags>', undefined],
  ['</v2/a/tags/playlist?last=1>', undefined],
  ['</v2/a/tags/list?last=1>', '?last=1'],
  ['<list?last=1>', '?last=1'],
  ['<?last=1>', '?last=1'],
  ['</docs?x>, </v2/a/tags/list?last=1>', '?last=1'],
  ['</other?last=1>; rel="next"', '?last=1'],
])('a link without a relation leads to the next page only if it has the path of a page: %s', (header, query) => {
  expect(nextQuery(header, 'list')).toBe(query);
});
