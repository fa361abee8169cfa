import fc from 'fast-check';
import { expect, test } from 'vitest';
import { parseChallenges } from '../../../lib/core/http/challenge.ts';
import { offersBasic, requestedToken, unusableRealm } from '../../../lib/registry/auth/challenge.ts';

// This is the challenge of Docker Hub.
test('a Bearer challenge has a realm and a service, and its scope is ignored', () => {
  const header =
    'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/alpine:pull"';
  expect(requestedToken(parseChallenges(header))).toEqual({
    realm: 'https://auth.docker.io/token',
    service: 'registry.docker.io',
  });
});

// Scopes contain commas in quotes, services may be unquoted, and RFC 9110 permits whitespace in many places.
test.each([
  ['BEARER  Realm = "https://r/t" ,  SERVICE=svc , scope="repository:a:pull,push"', 'svc'],
  ['Bearer realm="https://r/t"', ''],
  ['Bearer realm=https://r/t,service=s', 's'],
  ['Bearer realm="https://r/t",service="a \\"b\\" \\\\c"', 'a "b" \\c'],
  [',,Bearer realm="https://r/t",,service="x",error="invalid_token"', 'x'],
])('parses the Bearer challenge %s', (header, service) => {
  expect(requestedToken(parseChallenges(header))).toEqual({ realm: 'https://r/t', service });
});

test('finds all challenges of one header, of several headers, and next to unknown schemes', () => {
  const mixed = parseChallenges('Negotiate YWJj==, Basic realm="x", Bearer realm="https://r/t"');
  expect(mixed.map(({ scheme }) => scheme)).toEqual(['negotiate', 'basic', 'bearer']);
  expect(offersBasic(mixed)).toBe(true);
  expect(requestedToken(mixed)?.realm).toBe('https://r/t');
  const apart = parseChallenges(['Basic realm="x"', 'Bearer realm="https://r/t"']);
  expect(apart.map(({ scheme }) => scheme)).toEqual(['basic', 'bearer']);
  expect(parseChallenges('Basic').map(({ scheme }) => scheme)).toEqual(['basic']);
  expect(parseChallenges(undefined)).toEqual([]);
});

test('refuses a realm that is not a URL', () => {
  for (const realm of ['token', '/token', 'ftp://r/t', 'file:///etc/passwd']) {
    const challenges = parseChallenges(`Bearer realm="${realm}",service="x"`);
    expect(requestedToken(challenges)).toBeUndefined();
    expect(unusableRealm(challenges)).toBe(realm);
  }
});

const token = fc.stringMatching(/^[a-z][a-z0-9_-]{0,8}$/);
const quoted = fc.string({ maxLength: 20 }).map((text) => text.replace(/[^\x20-\x7e]/g, ''));
const challenge = fc.record({ scheme: token, params: fc.dictionary(token, quoted, { maxKeys: 4 }) });

test('parses every formatted challenge to the same fields', () => {
  const format = ({ scheme, params }: { scheme: string; params: Record<string, string> }): string =>
    [
      scheme,
      Object.entries(params)
        .map(([name, value]) => `${name}="${value.replace(/["\\]/g, '\\$&')}"`)
        .join(', '),
    ]
      .join(' ')
      .trim();
  fc.assert(
    fc.property(fc.array(challenge, { maxLength: 3 }), (challenges) => {
      const parsed = parseChallenges(challenges.map(format).join(', '));
      expect(parsed.map(({ scheme, params }) => ({ scheme, params: Object.fromEntries(params) }))).toEqual(
        challenges.map(({ scheme, params }) => ({ scheme, params: { ...params } })),
      );
    }),
  );
});

test('parses arbitrary text in linear time without an error', () => {
  const nasty = fc.string({
    unit: fc.constantFrom('a', ' ', ',', '=', '"', '\\', ';', 'Bearer ', 'realm="'),
    maxLength: 60,
  });
  fc.assert(fc.property(fc.oneof(nasty, fc.string()), (text) => void parseChallenges(text)));
  expect(parseChallenges(`Bearer ${'a'.repeat(100_000)}`).length).toBeGreaterThan(0);
});
