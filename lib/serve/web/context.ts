import type { Archive } from '../../archive/archive.ts';
import type { Manifests } from '../manifests.ts';
import type { Repositories } from '../repositories.ts';
import type { Outlines } from './outlines.ts';

/** The context of a page. */
export interface Context {
  readonly archive: Archive;
  readonly repositories: Repositories;
  readonly manifests: Manifests;
  readonly outlines: Outlines;
  readonly needsLogin: boolean;
  readonly onFault: (text: string) => void;
}

/** The part of a request that all pages have. */
export interface PageRequest {
  /** The time of the shown state, in milliseconds since the epoch; undefined for the present. */
  readonly asOf: number | undefined;
  readonly parameters: URLSearchParams;
  readonly signal: AbortSignal;
}
