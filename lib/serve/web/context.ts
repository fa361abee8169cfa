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
