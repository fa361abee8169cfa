import type { Digest } from '../oci/digest.ts';

/** A webhook request as received; it is not trusted before its sender is authenticated. */
export interface Delivery {
  /** The names are in lower case, as in Lambda's function URLs. */
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly body: Uint8Array;
  /** `/hooks/…`, percent-encoded; the last component may be the secret. */
  readonly path?: string;
  /** Without the question mark; may contain `secret=…`. */
  readonly query?: string;
}

export const SENDERS = ['dockerhub', 'github', 'harbor', 'quay', 'distribution'] as const;
export type Sender = (typeof SENDERS)[number];

/** A push to a registry. It is only a hint: the resolver asks the registry for the current digest of the tag. */
export interface Pushed {
  /** Normalised: `docker.io/library/alpine`. */
  readonly repository: string;
  readonly tag?: string;
  /** The sender's digest, which is only logged. */
  readonly digest?: Digest;
}

export type Verdict =
  | { readonly kind: 'pushed'; readonly sender: Sender | 'ecr'; readonly items: readonly Pushed[] }
  /** A valid delivery that is not about a push. */
  | { readonly kind: 'ignored'; readonly reason: string }
  | Refusal;

export interface Refusal {
  readonly kind: 'refused';
  readonly status: 400 | 401 | 403 | 413 | 415;
  readonly reason: string;
}

/**
 * The limit for a delivery. The largest deliveries, those of GitHub, have about 30 KiB; the labels of an image can
 * double that.
 */
export const MAX_DELIVERY_BYTES = 256 * 1024;

/** The maximum number of pushes of one delivery, the same as of a slice. */
export const MAX_PUSHED = 100;
