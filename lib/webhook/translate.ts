import { Failure } from '../base/failure.ts';
import { Place } from '../oci/document.ts';
import { type Delivery, MAX_DELIVERY_BYTES, type Verdict } from './delivery.ts';
import { prove } from './proof.ts';
import type { WebhookSecrets } from './secrets.ts';
import { SHAPES } from './senders.ts';

/** JSON, and the kinds of it that senders name. GitHub's other choice, a form, is not taken. */
const JSON_TYPE = /^application\/(?:json|[\w.-]+\+json)$/;

/**
 * What a delivery says. Its size is checked first, then its sender is proven over the bytes as they came, and only then are
 * they parsed: whoever knows no secret makes nobody parse anything.
 */
export function translate(delivery: Delivery, secrets: WebhookSecrets): Verdict {
  const { headers, body } = delivery;
  if (body.length > MAX_DELIVERY_BYTES) return refused(413, `a delivery has ${MAX_DELIVERY_BYTES} bytes at most`);
  const { senders, tried } = prove(delivery, secrets);
  if (senders.size === 0)
    return tried
      ? refused(403, 'the signature or secret is not known here')
      : refused(401, 'a signature, an Authorization header or a secret in the URL is needed');
  const type = headers['content-type']?.split(';')[0]?.trim().toLowerCase() ?? '';
  if (!JSON_TYPE.test(type)) return refused(415, 'the Content-Type must be application/json');
  try {
    const document = Place.ofBytes('read delivery', body);
    const shape = SHAPES.find(({ recognises }) => recognises(document, headers));
    if (shape === undefined) return refused(400, 'this is no delivery of a sender that is known here');
    // One sender's secret proves no other's words.
    if (!senders.has(shape.sender)) return refused(403, `this is not proven to be from ${shape.sender}`);
    const read = shape.read(document, headers);
    if (typeof read === 'string') return { kind: 'ignored', reason: read };
    return { kind: 'pushed', sender: shape.sender, items: read };
  } catch (error) {
    if (!(error instanceof Failure) || error.side !== 'input') throw error;
    return refused(error.code === 'too-large' ? 413 : 400, error.message);
  }
}

function refused(status: Extract<Verdict, { kind: 'refused' }>['status'], reason: string): Verdict {
  return { kind: 'refused', status, reason };
}
