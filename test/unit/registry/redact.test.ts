import { expect, test } from 'vitest';
import { redact, remember } from '../../../lib/registry/auth/redact.ts';

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
  ['Authorization: Basic Ym9iOmh1bnRlcg==', 'Authorization: Basic [redacted]'],
  ['authorization: bearer eyJhbGciOi.J9.x', 'authorization: bearer [redacted]'],
  ['Basic authentication is required', 'Basic authentication is required'],
  ['Bearer realm="https://r/t",service="s"', 'Bearer realm="https://r/t",service="s"'],
])('redacts text that looks like an authorization: %s', (text, expected) => {
  expect(redact(text)).toBe(expected);
});
