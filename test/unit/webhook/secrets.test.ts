import { describe, expect, test } from 'vitest';
import { SENDERS } from '../../../lib/webhook/delivery.ts';
import { isOneOf, parseSecrets, secretOf } from '../../../lib/webhook/secrets.ts';

describe('the secrets', () => {
  test('are one or several per sender, and none for a sender that is left out', () => {
    const text = JSON.stringify({ github: 'g'.repeat(16), quay: ['new'.repeat(6), 'old'.repeat(6)] });
    expect(parseSecrets(text, 'secret')).toEqual({
      github: ['g'.repeat(16)],
      quay: ['new'.repeat(6), 'old'.repeat(6)],
    });
    expect(parseSecrets('{}', 'secret')).toEqual({});
  });

  // `printf github | openssl dgst -sha256 -hmac TEXT`
  test('are derived for each sender from one text, which is not a secret itself', () => {
    const text = 'a1'.repeat(24);
    const secrets = parseSecrets(text, 'secret');
    expect(secrets).toEqual(Object.fromEntries(SENDERS.map((sender) => [sender, [secretOf(sender, text)]])));
    expect(secrets.github).toEqual(['85ba82e21b0d30dc7d7d0d9df830b551d9c72d4e7f1ede869999cbe7223e84f7']);
    expect(new Set([text, ...Object.values(secrets).flat()]).size).toBe(SENDERS.length + 1);
  });

  // A typo must not leave a sender without a secret, and an empty text must not become a known secret.
  test.each([
    ['not JSON', '{"github":hunter2hunter2hunter2', /invalid JSON/],
    ['a secret alone that is short', 'hunter2', /invalid JSON/],
    ['a secret alone with its line break', 'hunter2hunter2hunter2\n', /invalid JSON/],
    ['no object', '["hunter2hunter2hunter2"]', /expected a JSON object/],
    ['an unknown sender', '{"gihub":"hunter2hunter2hunter2"}', /unknown sender "gihub" \(available: dockerhub/],
    ['empty', '{"github":""}', /github: expected a string of at least 16/],
    ['short', '{"github":["hunter2hunter2hunter2","hunter2"]}', /github: expected a string of at least 16/],
    ['no string', '{"github":{"hunter2":1}}', /github: expected a string/],
    ['a line break that was pasted with it', '{"github":"hunter2hunter2hunter2\\n"}', /white space around it/],
    ['none', '{"github":[]}', /github has no secret/],
  ])('are refused without a quotation: %s', (_, text, reason) => {
    const parse = (): unknown => parseSecrets(text, 'arn:secret');
    expect(parse).toThrow(reason);
    expect(parse).toThrow(/^read webhook secrets: arn:secret: (?!.*hunter2)/);
  });

  test('are compared as a whole', () => {
    expect(isOneOf('abc', ['xyz', 'abc'])).toBe(true);
    expect(['', 'ab', 'abcd', 'ABC'].some((given) => isOneOf(given, ['abc']))).toBe(false);
    expect(isOneOf('', [])).toBe(false);
  });
});
