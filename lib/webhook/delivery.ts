import type { Digest } from '../oci/digest.ts';

/** A webhook as it arrived. Nothing in it is believed before its sender is proven. */
export interface Delivery {
  /** Names in lower case, as Lambda's function URLs have them. */
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly body: Uint8Array;
  /** `/hooks/…`, percent-encoded: the last part may be the secret. */
  readonly path?: string;
  /** Without the question mark: `secret=…` may be in it. */
  readonly query?: string;
}

/** Whoever sends webhooks. */
export const SENDERS = ['dockerhub', 'github', 'harbor', 'quay', 'distribution'] as const;
export type Sender = (typeof SENDERS)[number];

/** Something was pushed upstream. Only a hint: what a tag names now is asked of the registry and of nobody else. */
export interface Pushed {
  /** Normalised: `docker.io/library/alpine`. */
  readonly repository: string;
  readonly tag?: string;
  /** What the sender says; it is logged, and decides nothing. */
  readonly digest?: Digest;
}

export type Verdict =
  | { readonly kind: 'pushed'; readonly sender: Sender | 'ecr'; readonly items: readonly Pushed[] }
  /** Proven and understood, and not about a push. */
  | { readonly kind: 'ignored'; readonly reason: string }
  | { readonly kind: 'refused'; readonly status: 400 | 401 | 403 | 413 | 415; readonly reason: string };

/** Bytes of a delivery. The largest in earnest, GitHub's, have about 30 KiB; labels of an image can double that. */
export const MAX_DELIVERY_BYTES = 256 * 1024;

/** Things pushed in one delivery: as many as one message to the resolver has. */
export const MAX_PUSHED = 100;
