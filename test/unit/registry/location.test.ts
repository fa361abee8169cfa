import fc from 'fast-check';
import { expect, test } from 'vitest';
import { locate, requestTarget } from '../../../lib/registry/http/location.ts';

const BASE = new URL('https://reg.test/v2/a/blobs/b?x=1');

test.each([
  ["/c?name='x'", 'reg.test', "/c?name='x'"],
  ['/c?a|b^{c}"<d>`\\', 'reg.test', '/c?a|b^{c}"<d>`\\'],
  ['/c?a b\tü', 'reg.test', '/c?a%20b%09%C3%BC'],
  ['/a/%2e%2e/%2E/.%2e/c', 'reg.test', '/a/%2e%2e/%2E/.%2e/c'],
  ["/a'(b);c=@[d]", 'reg.test', "/a'(b);c=@[d]"],
  ['/a\\b/|^"<ü> ', 'reg.test', '/a%5Cb/%7C%5E%22%3C%C3%BC%3E%20'],
  ['/a%zz%?100%', 'reg.test', '/a%zz%?100%'],
  ['/\ud800', 'reg.test', '/%EF%BF%BD'],
  ['/a/../b/./c', 'reg.test', '/b/c'],
  ["../../c?d='", 'reg.test', "/v2/c?d='"],
  ["?d='", 'reg.test', "/v2/a/blobs/b?d='"],
  ['', 'reg.test', '/v2/a/blobs/b?x=1'],
  ['/c#d?e', 'reg.test', '/c'],
  ['//cdn.test//a//b', 'cdn.test', '//a//b'],
  ['HTTP://cdn.test:8080?a', 'cdn.test:8080', '/?a'],
  ['http://user:password@cdn.test/%2e%2e/a', 'cdn.test', '/%2e%2e/a'],
  // These are the readings of `URL`.
  ['http://cdn.test\\@reg.test/a', 'cdn.test', '/@reg.test/a'],
  ['///cdn.test/a', 'cdn.test', '/a'],
  ['http:cdn.test/a', 'cdn.test', '/a'],
  // As in Go, a backslash does not begin a host.
  ['/\\cdn.test/a', 'reg.test', '/%5Ccdn.test/a'],
])('the reference %j leads to %s and requests %s', (reference, host, target) => {
  const url = locate(reference, BASE);
  expect(url?.host).toBe(host);
  expect(url && requestTarget(url)).toBe(target);
});

test.each(['https://', 'https://a b/', 'http://a:b/', 'http://[::1/'])('the reference %j is invalid', (reference) => {
  expect(locate(reference, BASE)).toBeUndefined();
});

test('a reference without a base must have a scheme', () => {
  expect(locate('/a')).toBeUndefined();
  expect(locate('https://cdn.test/%2e%2e/a')?.pathname).toBe('/a');
});

test('a request has only visible characters, and its path and query belong to its URL', () => {
  const part = fc.constantFrom(
    '/',
    '//',
    '.',
    '..',
    '%2e',
    '\\',
    '?',
    '#',
    '@',
    ':',
    'http:',
    "'",
    '"',
    ' ',
    '\r\n',
    'ü',
    'a',
  );
  fc.assert(
    fc.property(fc.array(fc.oneof(part, fc.string({ unit: 'binary' })), { maxLength: 12 }), (parts) => {
      const url = locate(parts.join(''), BASE);
      if (url?.protocol !== 'https:') return;
      const target = requestTarget(url);
      expect(target).toMatch(/^\/[!-~]*$/);
      const read = new URL(`${url.origin}${target}`);
      expect([read.host, read.pathname, read.search]).toEqual([url.host, url.pathname, url.search]);
    }),
    { numRuns: 2000 },
  );
});
