import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { asFailure, invalid } from '../../../lib/core/failure.ts';
import { withoutUrlSecrets } from '../../../lib/core/secrets.ts';
import { quote, show } from '../../../lib/oci/show.ts';

test.each([
  ['https://user:geheim@h/x', 'https://[redacted]@h/x'],
  ['https://geheim@h:5000', 'https://[redacted]@h:5000'],
  ['https://geheim@[::1]:5000/x@sha256:ab', 'https://[redacted]@[::1]:5000/x@sha256:ab'],
  ['https://:geheim@[::1]:5000/x', 'https://[redacted]@[::1]:5000/x'],
  ['https://user:ge@heim@h/x', 'https://[redacted]@h/x'],
  ['https://user:ge/heim@h/x', 'https://[redacted]@h/x'],
  ['https://user:ge?heim@h/x', 'https://[redacted]@h/x'],
  ['https://user:ge#heim@h/x', 'https://[redacted]@h/x'],
  ['https://h/x?token=geheim#y', 'https://h/x?[redacted]'],
  ['https://h?geheim', 'https://h?[redacted]'],
  ['https://h/?next=https://u:geheim@i/&token=geheim', 'https://h/?[redacted]'],
  ['https://a,https://user:geheim@h', 'https://a,https://[redacted]@h'],
  ['["https://a?geheim","http://user:geheim@b"]', '["https://a?[redacted]","http://[redacted]@b"]'],
  ['send to s3://key:geheim@bucket: no', 'send to s3://[redacted]@bucket: no'],
  ['Custom endpoint `user://geheim@h:1` was refused', 'Custom endpoint `user://[redacted]@h:1` was refused'],
])('removes the login and the query from %s', (text, expected) => {
  expect(withoutUrlSecrets(text)).toBe(expected);
});

test.each([
  'resolve docker.io/library/alpine@sha256:ab: is that right?',
  'https://h:5000/team/app@sha256:ab',
  'http://[::1]:5000/team/app@sha256:ab',
  's3://bucket/archive/repositories/r.example/a@b',
  'see https://docs.example/page#part, or mail a@b.example',
])('keeps a text without secrets: %s', (text) => {
  expect(withoutUrlSecrets(text)).toBe(text);
});

describe('a message', () => {
  const url = 'https://user:geheim@h/hook?token=geheim';

  test.each([
    ['its operation', () => invalid(`open ${url}`, 'no').message],
    ['its detail', () => invalid('open', `${url} is wrong`).detail],
    ["a library's error", () => asFailure(new TypeError(`cannot send to ${url}`), 'send', 'archive').message],
    ['a shown value', () => show(url)],
    ['a shown value that is cut', () => show(`https://user:${'geheim'.repeat(100)}@h`)],
    ['a quoted text', () => quote(`moved to ${url}`)],
    ['a quoted text that is cut', () => quote(`https://user:${'geheim'.repeat(1_000)}@h`)],
  ])('has no secret of a URL in %s', (_, said) => {
    expect(said()).not.toContain('geheim');
    expect(said()).toContain('[redacted]');
  });

  test('has no password of any URL', () => {
    const part = fc.stringMatching(/^[!-~]{0,20}$/);
    const named = fc.tuple(
      fc.stringMatching(/^[a-z][!-.0-9;-~]{0,9}$/),
      part,
      part,
      fc.constantFrom('', '/x?', '?k=v#@'),
    );
    fc.assert(
      fc.property(named, ([user, before, after, end]) => {
        fc.pre(!/[@/?#[\\]/.test(user));
        const text = `https://${user}:g${before}GEHEIM${after}@h${end}`;
        expect(withoutUrlSecrets(`get ${text} failed`)).not.toContain('GEHEIM');
      }),
    );
  });

  test('of a megabyte is read in linear time', () => {
    for (const part of ['://', 'a://a:b', '://@', '?', '://a?"', 'a://a:1/@']) {
      const text = part.repeat(Math.ceil(1e6 / part.length));
      const started = performance.now();
      withoutUrlSecrets(text);
      expect(performance.now() - started, part).toBeLessThan(2_000);
    }
  });
});
