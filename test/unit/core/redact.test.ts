import { expect, test } from 'vitest';
import { Failure } from '../../../lib/core/failure.ts';
import { readJson } from '../../../lib/core/json.ts';
import { redact, remember, rememberToken, withoutSentSecrets } from '../../../lib/core/redact.ts';
import { show, showKey } from '../../../lib/oci/show.ts';

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

test.each([
  ['HTML', 'p&amp;q&lt;hunter3&#43;&#x2F;&quot;&apos;'],
  ['JSON', String.raw`p\u0026q\u003chunter3\u002b\/\"'`],
])('redacts a secret with the escapes of %s', (_, form) => {
  remember(`p&q<hunter3+/"'`);
  expect(redact(`you sent (${form})`)).toBe('you sent ([redacted])');
  expect(withoutSentSecrets(`you sent (${form})`)).toBe('you sent ([redacted])');
});

test.each(['&amp; &#65; &#9999999; &#xffffff; &lt;b&gt;', String.raw`\u00e9 \ud800 \/ \"`])(
  'keeps a text with escapes that repeats no secret: %s',
  (text) => {
    expect(redact(text)).toBe(text);
  },
);

test('keeps short secrets in messages, because the names of repositories may have them', () => {
  remember('admin1');
  expect(withoutSentSecrets('get tag admin1/app')).toBe('get tag admin1/app');
  expect(redact('you sent admin1')).toBe('you sent [redacted]');
});

test('every failure, shown value and JSON error is without the secrets that a document repeats', () => {
  const detail = `"${SECRET}" is not a digest`;
  expect(new Failure({ operation: 'get', side: 'source', code: 'invalid', detail }).message).toBe(
    'get: "[redacted]" is not a digest',
  );
  expect([show(SECRET), showKey(SECRET)]).toEqual(['"[redacted]"', '[redacted]']);
  // The end of the secret is beyond the characters that are shown.
  expect(show(`${'x'.repeat(90)}${SECRET}`)).toMatch(/^"x{90}\[redacted\]"$/);
  expect(() => readJson(SECRET)).toThrow('is not JSON (it repeats a secret that was sent)');
  expect(() => readJson(`{"a": ${SECRET}}`)).toThrow('is not JSON (it repeats a secret that was sent)');
  const long = `["${'x'.repeat(20_000)}", ${SECRET}]`;
  expect(() => readJson(long)).toThrow(/^is not JSON \(Unexpected token\)$/);
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
