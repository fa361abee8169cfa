import type { Digest } from '../oci/digest.ts';

/**
 * The places of objects in an archive. The result is a key for the object store; no other module builds keys.
 * Repositories have the form of references: `docker.io/library/alpine`, `localhost:5000/app`.
 */
export interface Layout {
  /** The prefix of all blobs' keys. */
  readonly blobs: string;
  blob(digest: Digest): string;
  /** The blob with this key; undefined for any other key. */
  digestOf(key: string): Digest | undefined;
  receipt(digest: Digest): string;
  tagIndex(repository: string): string;
  /** The record that a manifest belongs to an image of the repository. */
  member(repository: string, manifest: Digest): string;
  /** The bundle of an attestation, by a name that its writer chooses. */
  attestation(name: string): string;
  /** The file that other tools need beside the tag index, and its content. */
  marker(repository: string): { readonly key: string; readonly content: string };
  /** The repository whose marker has this key; undefined for any other key. */
  markedBy(key: string): string | undefined;
  /** The prefix of all tag indexes' keys. */
  readonly repositories: string;
  /** The repository whose tag index has this key; undefined for any other key. */
  repositoryOf(key: string): string | undefined;
  /** The prefix of all run reports' keys. */
  readonly runs: string;
  /** The report of one image of a run; without `image`, the prefix of all the run's keys. */
  runReport(run: string, image?: string): string;
  /** The start of a run, beside its reports. */
  runStart(run: string): string;
  /** The summary of a finished run, beside its reports. */
  runSummary(run: string): string;
  /** The prefix of the records of all runs that are not finished. */
  readonly openRuns: string;
  /** The record of a handled message of an open run; without `message`, the start of the run with the ids of its messages. */
  openRun(run: string, message?: string): string;
  /** The run and the message of a key below `openRuns`; without a message for the start. */
  openRunOf(key: string): { readonly run: string; readonly message: string | undefined } | undefined;
  /** The object that names the run which has queued an image. */
  queuedImage(image: string): string;
  /** The run whose report or start has this key; undefined for any other key. */
  runOf(key: string): string | undefined;
}
