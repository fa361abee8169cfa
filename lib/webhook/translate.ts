import { Failure } from '../core/failure.ts';
import { Place } from '../oci/document.ts';
import { type Delivery, MAX_DELIVERY_BYTES, type Verdict } from './delivery.ts';
import { prove, triesToProve } from './proof.ts';
import type { WebhookSecrets } from './secrets.ts';
import { SHAPES } from './senders.ts';

/** JSON, and the kinds of it that senders name. GitHub's other choice, a form, is not taken. */
const JSON_TYPE = /^application\/(?:json|[\w.-]+\+json)$/;

/** The age of a delivery whose sender signs its time, in milliseconds; clocks may differ by as much. */
const MAX_AGE_MS = 10 * 60_000;

/** Refuses what needs no secret to be refused: a delivery that is too large, or that brings no proof. */
export function screen({ body, ...delivery }: Delivery): Extract<Verdict, { kind: 'refused' }> | undefined {
  if (body.length > MAX_DELIVERY_BYTES) return refused(413, `a delivery has ${MAX_DELIVERY_BYTES} bytes at most`);
  if (!triesToProve(delivery))
    return refused(401, 'a signature, an Authorization header or a secret in the URL is needed');
  return undefined;
}

/**
 * What a delivery says. Its size is checked first, then its sender is proven over the bytes as they came, and only then are
 * they parsed: a stranger makes this software parse nothing.
 *
 * @param now milliseconds since the epoch
 */
export function translate(delivery: Delivery, secrets: WebhookSecrets, now: number = Date.now()): Verdict {
  const screened = screen(delivery);
  if (screened !== undefined) return screened;
  const { headers, body } = delivery;
  const senders = prove(delivery, secrets);
  if (senders.size === 0) return refused(403, 'the signature or secret is not known here');
  const type = headers['content-type']?.split(';')[0]?.trim().toLowerCase() ?? '';
  if (!JSON_TYPE.test(type)) return refused(415, 'the Content-Type must be application/json');
  try {
    const document = Place.ofBytes('read delivery', body);
    const shape = SHAPES.find(({ recognises }) => recognises(document, headers));
    if (shape === undefined) return refused(400, 'this is not a delivery of a sender that is known here');
    // One sender's secret proves no other's words.
    if (!senders.has(shape.sender)) return refused(403, `this is not proven to be from ${shape.sender}`);
    const time = shape.signedTime?.(document, headers);
    if (time !== undefined && Math.abs(now - time) > MAX_AGE_MS)
      return refused(403, `the delivery is of ${new Date(time).toISOString()}; only the last 10 minutes are accepted`);
    const read = shape.read(document, headers);
    if (typeof read === 'string') return { kind: 'ignored', reason: read };
    return { kind: 'pushed', sender: shape.sender, items: read };
  } catch (error) {
    if (!(error instanceof Failure) || error.side !== 'input') throw error;
    return refused(error.code === 'too-large' ? 413 : 400, error.message);
  }
}

function refused(
  status: Extract<Verdict, { kind: 'refused' }>['status'],
  reason: string,
): Extract<Verdict, { kind: 'refused' }> {
  return { kind: 'refused', status, reason };
}
