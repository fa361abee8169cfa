import type { Route } from './routes.ts';

/** A response to a request by tag for an image that the archive lacks. */
export interface MissingTag {
  /** The repositories that the name may mean, in the order of lookup: `docker.io/library/alpine`. */
  readonly repositories: readonly string[];
  readonly tag: string;
}

/** A response, with the facts for an access log and metrics. */
export interface Served {
  readonly response: Response;
  /** `other` for a request that names no endpoint, a write, and a missing login. */
  readonly kind: Route['kind'] | 'other';
  /** Undefined if the server has no logins, and for a refused request. */
  readonly user: string | undefined;
  /** Whether the archive lacks the manifest or the blob. */
  readonly isMiss: boolean;
  /** The size of the content that a redirect leads to; 0 without a redirect. */
  readonly redirectedBytes: number;
  /** Undefined for a request by digest or of an earlier time. */
  readonly missingTag: MissingTag | undefined;
}

/** A response to one endpoint. */
export interface Answer {
  readonly response: Response;
  readonly redirectedBytes?: number;
}
