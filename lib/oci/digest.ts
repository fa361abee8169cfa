import { createHash, hash, type Hash } from 'node:crypto';
import { invalid } from '../core/failure.ts';
import { show } from './show.ts';

declare const brand: unique symbol;

/** A valid digest: `sha256:<64 hex>` or `sha512:<128 hex>`, in lower case. */
export type Digest = string & { readonly [brand]: 'Digest' };

/** The algorithms that the OCI image spec registers ("Descriptor", section "Registered algorithms"). */
export const ALGORITHMS = ['sha256', 'sha512'] as const;

export type Algorithm = (typeof ALGORITHMS)[number];

const HEX_LENGTHS: ReadonlyMap<string, number> = new Map<Algorithm, number>([
  ['sha256', 64],
  ['sha512', 128],
]);

const DIGEST = new RegExp(`^(?:${[...HEX_LENGTHS].map(([name, length]) => `${name}:[0-9a-f]{${length}}`).join('|')})$`);

/**
 * @throws {Failure} `invalid`, with the reason why the text is not a digest
 */
export function parseDigest(text: string): Digest {
  const fault = digestFault(text);
  if (fault !== undefined) throw invalid(`parse digest ${show(text)}`, `it ${fault}`);
  return text as Digest;
}

export function isDigest(text: string): text is Digest {
  return DIGEST.test(text);
}

/**
 * The reason why a text is not a digest, as the rest of a sentence that begins with the text; `undefined` for a digest.
 */
export function digestFault(text: string): string | undefined {
  if (isDigest(text)) return undefined;
  const colon = text.indexOf(':');
  if (colon < 0) return 'is not a digest (expected algorithm:hex, such as sha256:…)';
  const algorithm = text.slice(0, colon);
  const length = HEX_LENGTHS.get(algorithm);
  if (length === undefined)
    return `names the digest algorithm ${show(algorithm)}; only ${[...HEX_LENGTHS.keys()].join(' and ')} are supported`;
  const hex = text.slice(colon + 1);
  if (hex.length !== length) return `has ${hex.length} characters after ${algorithm}: (expected ${length})`;
  return /^[0-9a-f]+$/i.test(hex)
    ? 'has upper-case hex digits; write them in lower case'
    : `has characters after ${algorithm}: that are not hex digits`;
}

export function digestParts(digest: Digest): { algorithm: Algorithm; hex: string } {
  const colon = digest.indexOf(':');
  return { algorithm: digest.slice(0, colon) as Algorithm, hex: digest.slice(colon + 1) };
}

/**
 * @throws {Failure} `invalid` where `hex` is not a lower-case hash of this algorithm
 */
export function toDigest(algorithm: Algorithm, hex: string): Digest {
  return parseDigest(`${algorithm}:${hex}`);
}

export function digestOf(bytes: Uint8Array, algorithm: Algorithm = 'sha256'): Digest {
  return `${algorithm}:${hash(algorithm, bytes)}` as Digest;
}

export function hasher(algorithm: Algorithm): Hash {
  return createHash(algorithm);
}
