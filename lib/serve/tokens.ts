/** Logins with generated tokens, of which the host stores only hashes. */
import { createHash, timingSafeEqual } from 'node:crypto';
import { invalid } from '../core/failure.ts';
import { show } from '../oci/show.ts';
import { basicCredentials, type Logins } from './logins.ts';

/** The SHA-256 hashes of the tokens of each user; several during a rotation. */
export type TokenHashes = ReadonlyMap<string, readonly Buffer[]>;

/**
 * Parses the stored hashes: `{"ci": "<64 hex digits>", "laptop": ["<new>", "<old>"]}`. Tokens are random, so a slow hash would only
 * delay each request.
 *
 * @param place the name of the secret in errors
 * @throws Failure `invalid`, without any hash
 */
export function parseTokens(text: string, place: string): TokenHashes {
  const wrong = (detail: string): Error => invalid('read registry tokens', `${place}: ${detail}`);
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    // The parser's message would quote the text.
    throw wrong('expected a JSON object such as {"ci": "<SHA-256 of a token>"}, got invalid JSON');
  }
  if (typeof json !== 'object' || json === null || Array.isArray(json))
    throw wrong('expected a JSON object such as {"ci": "<SHA-256 of a token>"}');
  return new Map(
    Object.entries(json).map(([user, value]) => {
      if (user === '' || user.includes(':'))
        throw wrong(`${show(user)} cannot be a user name (empty, or with a colon)`);
      const hashes: unknown[] = Array.isArray(value) ? value : [value];
      const checked = hashes.map((hash) => {
        if (typeof hash === 'string' && SHA256.test(hash)) return Buffer.from(hash, 'hex');
        throw wrong(`${show(user)}: expected the SHA-256 of a token as 64 hex digits`);
      });
      return [user, checked];
    }),
  );
}

const SHA256 = /^[0-9a-f]{64}$/i;

/**
 * The user with one of these tokens as password. The token is compared with all hashes of all users, so the duration of
 * a refusal reveals nothing about them.
 *
 * @param tokens called for each request with credentials; the caller caches the result
 */
export function tokenLogins(tokens: () => Promise<TokenHashes>): Logins {
  return {
    async userOf(authorization) {
      const given = basicCredentials(authorization);
      if (given === undefined) return undefined;
      const hash = createHash('sha256').update(given.password).digest();
      const matching = [...(await tokens())].filter(([, hashes]) =>
        hashes.map((each) => timingSafeEqual(hash, each)).includes(true),
      );
      return matching.map(([user]) => user).find((user) => user === given.user);
    },
  };
}
