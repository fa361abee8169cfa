import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { parseTokens, tokenLogins } from '../../../lib/serve/tokens.ts';

const hash = (token: string): string => createHash('sha256').update(token).digest('hex');
const basic = (user: string, password: string): string =>
  `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;

describe('the stored tokens', () => {
  test.each([
    ['no JSON', `{"ci": "${hash('x')}`],
    ['a list', '[]'],
    ['a text', `"${hash('x')}"`],
    ['null', 'null'],
    ['a token instead of its hash', '{"ci": "a-token-that-is-not-hashed"}'],
    ['a hash of another length', `{"ci": ["${hash('x')}0"]}`],
    ['an empty user', `{"": "${hash('x')}"}`],
    ['a user with a colon', `{"a:b": "${hash('x')}"}`],
  ])('are refused without their values: %s', (_, text) => {
    expect(() => parseTokens(text, 'the secret')).toThrow(/^read registry tokens: the secret: /);
    expect(() => parseTokens(text, 'the secret')).not.toThrow(/not-hashed|[0-9a-f]{64}/);
  });
});

describe('a login with a token', () => {
  let secret = JSON.stringify({ ci: hash('first'), laptop: [hash('new'), hash('old').toUpperCase()], gone: [] });
  const logins = tokenLogins(() => Promise.resolve(parseTokens(secret, 'the secret')));

  test.each([
    ['ci', 'first'],
    ['laptop', 'new'],
    ['laptop', 'old'],
  ])('names its user: %s with %s', async (user, token) => {
    expect(await logins.userOf(basic(user, token))).toBe(user);
  });

  test.each([
    ['without credentials', undefined],
    ['with another scheme', 'Bearer first'],
    ['with a wrong token', basic('ci', 'wrong')],
    ['with the token of another user', basic('ci', 'new')],
    ['with an unknown user', basic('someone', 'first')],
    ['with the hash as token', basic('ci', hash('first'))],
    ['with a user that has no token', basic('gone', '')],
    ['with a user of the language', basic('__proto__', 'first')],
  ])('is refused %s', async (_, authorization) => {
    expect(await logins.userOf(authorization)).toBeUndefined();
  });

  test('is refused after its hash is removed', async () => {
    expect(await logins.userOf(basic('ci', 'first'))).toBe('ci');
    secret = '{}';
    expect(await logins.userOf(basic('ci', 'first'))).toBeUndefined();
  });
});
