import { Place } from '../oci/document.ts';
import { SIGNATURE_LIMITS } from './signature.ts';

/**
 * The bytes of a base64 text (RFC 4648, section 4). Node's decoder skips invalid characters, so this function refuses
 * them.
 */
export function base64(place: Place, maxBytes: number = SIGNATURE_LIMITS.itemBytes): Buffer {
  const text = place.text();
  if (text.length > Math.ceil(maxBytes / 3) * 4) throw place.fail(`has more than ${maxBytes} bytes`, 'too-large');
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(text)) throw place.fail('must be base64');
  return Buffer.from(text, 'base64');
}

/** The same for a text outside of a document. */
export function base64Text(name: string, text: string, maxBytes?: number): Buffer {
  return base64(new Place('read signature', name, text.trim()), maxBytes);
}
