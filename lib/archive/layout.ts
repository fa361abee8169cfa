import type { Digest } from '../oci/digest.ts';

/**
 * Where things lie in an archive. Keys are the object-store port's; the rest of this software knows no other.
 * Repositories are given as references name them: `docker.io/library/alpine`, `localhost:5000/app`.
 */
export interface Layout {
  /** What all blobs' keys begin with. */
  readonly blobs: string;
  blob(digest: Digest): string;
  /** The blob whose key this is; undefined for any other key. */
  digestOf(key: string): Digest | undefined;
  receipt(digest: Digest): string;
  tagIndex(repository: string): string;
  /** What has to be beside the tag index, and its content, for stock tools to read the repository. */
  marker(repository: string): { readonly key: string; readonly content: string };
  /** What all tag indexes' keys begin with. */
  readonly repositories: string;
  /** The repository whose tag index this is; undefined for any other key. */
  repositoryOf(key: string): string | undefined;
  /** What all run reports' keys begin with. */
  readonly runs: string;
  /** The report of one image of a run; of any, where `image` is not given: what all of the run's keys begin with. */
  runReport(run: string, image?: string): string;
  /** The start of a run, beside its reports. */
  runStart(run: string): string;
  /** The run that has queued an image, whatever run that is. */
  queuedImage(image: string): string;
  /** The run whose report or start this is; undefined for any other key. */
  runOf(key: string): string | undefined;
}
