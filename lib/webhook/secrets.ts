import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import { invalid } from '../core/failure.ts';
import { show } from '../oci/show.ts';
import { type Sender, SENDERS } from './delivery.ts';

/** What each sender proves itself with; more than one while they are being changed. */
export type WebhookSecrets = Readonly<Partial<Record<Sender, readonly string[]>>>;

/** Characters of a secret: 16 random ones cannot be guessed over a network. */
const MIN_LENGTH = 16;

/** One secret alone, as a deployment generates it: nothing that a broken JSON text could be taken for. */
const ALONE = new RegExp(`^[A-Za-z0-9_-]{${MIN_LENGTH},}$`);

/**
 * The secrets as they are kept: `{"github": "…", "quay": ["new…", "old…"]}`, where a sender that is not named can deliver
 * nothing; or one text alone (letters, digits, `_` and `-`), from which each sender's own secret is derived.
 *
 * @param place what errors call it
 * @throws {Failure} `invalid`, quoting nothing that may be secret
 */
export function parseSecrets(text: string, place: string): WebhookSecrets {
  const wrong = (detail: string): Error => invalid('read webhook secrets', `${place}: ${detail}`);
  if (ALONE.test(text)) return Object.fromEntries(SENDERS.map((sender) => [sender, [secretOf(sender, text)]]));
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    // The parser's message would quote the text.
    throw wrong('it is not JSON; it must be an object such as {"github": "…"}');
  }
  if (typeof json !== 'object' || json === null || Array.isArray(json))
    throw wrong('it must be an object such as {"github": "…"}');
  const secrets: Partial<Record<Sender, readonly string[]>> = {};
  for (const [name, value] of Object.entries(json)) {
    const sender = SENDERS.find((each) => each === name);
    if (sender === undefined) throw wrong(`${show(name)} sends no webhooks here; there are ${SENDERS.join(', ')}`);
    const all: unknown[] = Array.isArray(value) ? value : [value];
    if (all.length === 0) throw wrong(`${sender} has no secret; leave it out, or give it one`);
    secrets[sender] = all.map((secret) => {
      if (typeof secret === 'string' && secret.trim() === secret && secret.length >= MIN_LENGTH) return secret;
      throw wrong(
        `${sender}: a secret is a string of ${MIN_LENGTH} characters at least, without white space around it`,
      );
    });
  }
  return secrets;
}

/**
 * A sender's own secret, derived from the one that a deployment generates, so that a secret in one registry's URL proves no
 * other sender. `printf github | openssl dgst -sha256 -hmac TEXT` prints it.
 */
export function secretOf(sender: Sender, text: string): string {
  return createHmac('sha256', text).update(sender).digest('hex');
}

/**
 * Whether `given` is one of the secrets, in a time that says nothing about any of them: hashes of equal length are
 * compared, and all of them are.
 */
export function isOneOf(given: string, secrets: readonly string[]): boolean {
  const hash = sha256(given);
  return secrets.map((secret) => timingSafeEqual(hash, sha256(secret))).includes(true);
}

function sha256(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
