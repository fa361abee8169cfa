/**
 * Signs notifications as "Standard Webhooks" specifies it (https://www.standardwebhooks.com), so receivers can use any of its
 * libraries: HMAC-SHA256 over the id, the time and the body.
 */
import { createHmac } from 'node:crypto';
import { invalid } from '../core/failure.ts';

/** A shorter key could be guessed. */
const MIN_KEY_BYTES = 24;

/** The headers of a signed notification. */
export type SignedHeaders = Readonly<
  Record<'webhook-id' | 'webhook-timestamp' | 'webhook-signature' | 'idempotency-key', string>
>;

/**
 * The bytes of a key: base64 after the prefix `whsec_`; the UTF-8 bytes of any other text.
 *
 * @throws Failure `invalid` for a key that is too short
 */
export function parseKey(text: string, name: string): Buffer {
  const trimmed = text.trim();
  const prefix = 'whsec_';
  const key = trimmed.startsWith(prefix)
    ? Buffer.from(trimmed.slice(prefix.length), 'base64')
    : Buffer.from(trimmed, 'utf8');
  if (key.length >= MIN_KEY_BYTES) return key;
  const detail = `expected a key of at least ${MIN_KEY_BYTES} bytes, got ${key.length}`;
  throw invalid(`read ${name}`, `${detail}; openssl rand -base64 32 makes one`);
}

/**
 * @param id the same for every try of one notification, so that the receiver can drop repetitions
 * @param seconds since the epoch
 */
export function sign(id: string, seconds: number, body: string, key: Uint8Array): SignedHeaders {
  const signature = createHmac('sha256', key).update(`${id}.${seconds}.${body}`).digest('base64');
  return {
    'webhook-id': id,
    'webhook-timestamp': String(seconds),
    'webhook-signature': `v1,${signature}`,
    'idempotency-key': id,
  };
}
