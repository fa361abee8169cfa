import { expect, test } from 'vitest';
import { withoutSecrets } from '../../../lib/core/secrets.ts';

test.for([
  ['https://me:secret@host/path', 'https://[redacted]@host/path'],
  ['https://token@host', 'https://[redacted]@host'],
  ['s3a://KEY:se/cr+et@bucket/prefix', 's3a://[redacted]@bucket/prefix'],
  ['https://me:sec@ret@host', 'https://[redacted]@host'],
  ['me:secret@host:5000/app', '[redacted]@host:5000/app'],
  ['me:sec/ret@host/app', '[redacted]@host/app'],
  [
    'me:secret@host/app@sha256:01ba4719c80b6fe911b091a7c05124b64eeece964e09c058ef8f9805daca546b',
    '[redacted]@host/app@sha256:01ba4719c80b6fe911b091a7c05124b64eeece964e09c058ef8f9805daca546b',
  ],
  ['-----BEGIN EC PRIVATE KEY-----\nMHcCAQEE\n', '-----BEGIN EC PRIVATE KEY-----[redacted]'],
])('redacts the secret of %j', ([text, expected]) => {
  expect(withoutSecrets(text ?? '')).toBe(expected);
});

test.for([
  'alpine:3.20@sha256:01ba4719c80b6fe911b091a7c05124b64eeece964e09c058ef8f9805daca546b',
  'alpine:3.20@sha512:12',
  'localhost:5000/app@latest',
  'https://host:8443/team/app/workflow.yml@refs/heads/main',
  'https://github.com/team/app/.github/workflows/release.yml@refs/tags/v1',
  'me@example.com',
  '-----BEGIN PUBLIC KEY-----\nMFkwEwYH\n',
])('keeps %j, which contains no secret', (text) => {
  expect(withoutSecrets(text)).toBe(text);
});
