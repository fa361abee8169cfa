import { createHmac, hash, timingSafeEqual } from 'node:crypto';
import { invalid } from '../core/failure.ts';
import { show } from '../oci/show.ts';
import { type Sender, SENDERS } from './delivery.ts';

/** The secrets of each sender; several during a rotation. */
export type WebhookSecrets = Readonly<Partial<Record<Sender, readonly string[]>>>;

/** The minimum number of characters; 16 random characters cannot be guessed over a network. */
const MIN_LENGTH = 16;

/** A single secret, as a deployment generates it; invalid JSON does not match it. */
const ALONE = new RegExp(`^[A-Za-z0-9_-]{${MIN_LENGTH},}$`);

/**
 * Parses the stored secrets: `{"github": "…", "quay": ["new…", "old…"]}`, where a missing sender is disabled; or a single text
 * (letters, digits, `_` and `-`), from which the secret of each sender is derived.
 *
 * @param place the name of the secret in errors
 * @throws {Failure} `invalid`, without any value
 */
export function parseSecrets(text: string, place: string): WebhookSecrets {
  const wrong = (detail: string): Error => invalid('read webhook secrets', `${place}: ${detail}`);
  if (ALONE.test(text)) return Object.fromEntries(SENDERS.map((sender) => [sender, [secretOf(sender, text)]]));
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    // The parser's message would quote secrets.
    throw wrong('expected a JSON object such as {"github": "…"}, got invalid JSON');
  }
  if (typeof json !== 'object' || json === null || Array.isArray(json))
    throw wrong('expected a JSON object such as {"github": "…"}');
  const secrets: Partial<Record<Sender, readonly string[]>> = {};
  for (const [name, value] of Object.entries(json)) {
    const sender = SENDERS.find((each) => each === name);
    if (sender === undefined) throw wrong(`unknown sender ${show(name)} (available: ${SENDERS.join(', ')})`);
    const all: unknown[] = Array.isArray(value) ? value : [value];
    if (all.length === 0) throw wrong(`${sender} has no secret; remove it, or add a secret`);
    secrets[sender] = all.map((secret) => {
      if (typeof secret === 'string' && secret.trim() === secret && secret.length >= MIN_LENGTH) return secret;
      throw wrong(`${sender}: expected a string of at least ${MIN_LENGTH} characters, without white space around it`);
    });
  }
  return secrets;
}

/**
 * The secret of a sender, derived from the deployment's secret, so that the secret in one registry's URL authenticates only
 * that sender. `printf github | openssl dgst -sha256 -hmac TEXT` prints it.
 */
export function secretOf(sender: Sender, text: string): string {
  return createHmac('sha256', text).update(sender).digest('hex');
}

/** Whether `given` is one of the secrets, in constant time: all secrets are compared, as hashes of equal length. */
export function isOneOf(given: string, secrets: readonly string[]): boolean {
  const hashed = hash('sha256', given, 'buffer');
  return secrets.map((secret) => timingSafeEqual(hashed, hash('sha256', secret, 'buffer'))).includes(true);
}
