import { expect, test } from 'vitest';
import { redact, remember, rememberToken } from '../../../lib/registry/auth/redact.ts';

const SECRET = 'hunter2secret/+ü';
remember(SECRET, `bob:${SECRET}`);

test.each([
  ['itself', SECRET],
  ['in base64', Buffer.from(SECRET).toString('base64')],
  ['in base64url', Buffer.from(SECRET).toString('base64url')],
  ['as Basic writes it', Buffer.from(`bob:${SECRET}`).toString('base64')],
  ['percent-encoded', encodeURIComponent(SECRET)],
  ['percent-encoded in lower case', encodeURIComponent(SECRET).toLowerCase()],
  ['in a form', new URLSearchParams({ x: SECRET }).toString().slice(2)],
  ['in base64, percent-encoded', encodeURIComponent(Buffer.from(SECRET).toString('base64'))],
])('redacts a secret that was sent: %s', (_, form) => {
  expect(redact(`you sent <${form}>`)).toMatch(/^you sent <\[redacted\](%3D|=)*>$/);
});

test('redacts the whole of a secret that is too long to be remembered', () => {
  const secret = 'tok%&/+~'.repeat(8000);
  remember(secret);
  const base64 = Buffer.from(secret).toString('base64');
  for (const form of [secret, encodeURIComponent(secret), base64, encodeURIComponent(base64)])
    expect(redact(`you sent "${form}" to us`)).toBe('you sent "[redacted]" to us');
});

test('remembers secrets with characters that cannot be encoded', () => {
  const secret = `${'é'.repeat(4094)}\u{1f511}`;
  remember(secret, 'lone\ud800');
  expect(redact(`you sent ${secret.slice(0, 10)}`)).toBe(`you sent ${secret.slice(0, 10)}`);
});

test('remembers a thousand tokens of 60 kB in a few megabytes, and still all credentials', () => {
  const before = process.memoryUsage().heapUsed + process.memoryUsage().external;
  const secrets = Array.from({ length: 1000 }, (_, n) => `${n}~`.padEnd(60_000, '%&/+'));
  for (const secret of secrets) rememberToken(secret);
  const grown = process.memoryUsage().heapUsed + process.memoryUsage().external - before;
  expect(redact(`you sent ${secrets[999] ?? ''}`)).toBe('you sent [redacted]');
  expect(redact(`you sent ${SECRET}`)).toBe('you sent [redacted]');
  expect(grown).toBeLessThan(200 * 1024 * 1024);
});

test.each([
  ['Authorization: Basic Ym9iOmh1bnRlcg==', 'Authorization: Basic [redacted]'],
  ['authorization: bearer eyJhbGciOi.J9.x', 'authorization: bearer [redacted]'],
  ['Basic authentication is required', 'Basic authentication is required'],
  ['Bearer realm="https://r/t",service="s"', 'Bearer realm="https://r/t",service="s"'],
])('redacts text that looks like an authorization: %s', (text, expected) => {
  expect(redact(text)).toBe(expected);
});
