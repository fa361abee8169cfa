import { Failure } from '../core/failure.ts';
import { Place } from '../oci/document.ts';
import { type Delivery, MAX_DELIVERY_BYTES, type Refusal, type Verdict } from './delivery.ts';
import { authenticate, hasCredential } from './proof.ts';
import type { WebhookSecrets } from './secrets.ts';
import { SHAPES } from './senders.ts';

/** The JSON media types of the senders. GitHub's alternative, a form, is not supported. */
const JSON_TYPE = /^application\/(?:json|[\w.-]+\+json)$/;

/** The maximum age, or clock difference, of a delivery with a signed time. */
const MAX_AGE_MS = 10 * 60_000;

/** Refuses a delivery that is too large or has no credential, without reading the secrets. */
export function screen({ body, ...delivery }: Delivery): Refusal | undefined {
  if (body.length > MAX_DELIVERY_BYTES)
    return refused(413, `the delivery is too large: expected at most ${MAX_DELIVERY_BYTES} bytes`);
  if (!hasCredential(delivery))
    return refused(401, 'expected a signature, an Authorization header or a secret in the URL');
  return undefined;
}

/**
 * Reads a delivery. First the size is checked, then the sender is authenticated with the raw bytes, and then the bytes are
 * parsed, so that unauthenticated input never reaches the parser.
 *
 * @param now milliseconds since the epoch
 */
export function translate(delivery: Delivery, secrets: WebhookSecrets, now: number = Date.now()): Verdict {
  const screened = screen(delivery);
  if (screened !== undefined) return screened;
  const { headers, body } = delivery;
  const senders = authenticate(delivery, secrets);
  if (senders.size === 0) return refused(403, 'invalid signature or secret');
  const type = headers['content-type']?.split(';')[0]?.trim().toLowerCase() ?? '';
  if (!JSON_TYPE.test(type)) return refused(415, 'expected the Content-Type application/json');
  try {
    const document = Place.ofBytes('read delivery', body);
    const shape = SHAPES.find(({ recognises }) => recognises(document, headers));
    if (shape === undefined) return refused(400, 'the delivery has no known format');
    // The secret of one sender does not authenticate another.
    if (!senders.has(shape.sender)) return refused(403, `the secret is not that of ${shape.sender}`);
    const time = shape.signedTime?.(document, headers);
    if (time !== undefined && Math.abs(now - time) > MAX_AGE_MS)
      return refused(403, `the delivery is from ${new Date(time).toISOString()}; expected within 10 minutes of now`);
    const read = shape.read(document, headers);
    if (typeof read === 'string') return { kind: 'ignored', reason: read };
    return { kind: 'pushed', sender: shape.sender, items: read };
  } catch (error) {
    if (!(error instanceof Failure) || error.side !== 'input') throw error;
    return refused(error.code === 'too-large' ? 413 : 400, error.message);
  }
}

function refused(status: Refusal['status'], reason: string): Refusal {
  return { kind: 'refused', status, reason };
}
