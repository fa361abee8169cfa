/**
 * OCI image layouts that share one blob store (OCI image spec, image-layout.md), so that stock tools read an archive:
 *
 *     blobs/<algorithm>/<hex>                     content
 *     repositories/<host>/<path>/oci-layout       {"imageLayoutVersion":"1.0.0"}
 *     repositories/<host>/<path>/index.json       the tag index
 *     .mirror/receipts/<algorithm>/<hex>.json     proofs
 *     .mirror/members/<host>/<path>/_<algorithm>_<hex>.json   manifests of the repository's images
 *     .mirror/attestations/<name>.json            attestations by the archive, before they are referrers
 *     .mirror/runs/<run>/run.json                 the start of a run
 *     .mirror/runs/<run>/<image>.json             run reports
 *     .mirror/runs/<run>/summary.json             the summary of a finished run
 *     .mirror/runs/.open/<run>/<message>.json     the handled messages of a run that is not finished
 *     .mirror/runs/.queued/<image>.json           the run that has queued an image
 *
 * A port is written with `_` instead of `:`, since tools split `oci:PATH:TAG` at the first colon. Host names have no
 * `_`.
 */
import { createHash } from 'node:crypto';
import { type Digest, digestParts, isDigest } from '../oci/digest.ts';
import { isRepository } from '../oci/reference.ts';

const REPOSITORIES = 'repositories/';
const RUNS = '.mirror/runs/';
/** The names of runs contain no dot, so this is not a run. */
const QUEUED = `${RUNS}.queued/`;
const OPEN = `${RUNS}.open/`;
const START = 'run';
const TAG_INDEX = '/index.json';
const MARKER = '/oci-layout';

/**
 * The keys of an archive's objects; no other module builds keys. Repositories have the form of references:
 * `docker.io/library/alpine`, `localhost:5000/app`.
 */
export const ociLayout = {
  /** The prefix of all blobs' keys. */
  blobs: 'blobs/',
  /** The prefix of all tag indexes' keys. */
  repositories: REPOSITORIES,
  blob: (digest: Digest) => `blobs/${pathOf(digest)}`,
  /** The blob with this key; undefined for any other key. */
  digestOf(key: string): Digest | undefined {
    const [, algorithm, hex] = /^blobs\/([^/]+)\/([^/]+)$/.exec(key) ?? [];
    const text = `${algorithm ?? ''}:${hex ?? ''}`;
    return isDigest(text) ? text : undefined;
  },
  receipt: (digest: Digest) => `.mirror/receipts/${pathOf(digest)}.json`,
  tagIndex: (repository: string) => `${REPOSITORIES}${folderOf(repository)}${TAG_INDEX}`,
  /** The record that a manifest belongs to an image of the repository. */
  member(repository: string, manifest: Digest): string {
    // No part of a path begins with `_`, so no repository below this one has the same key.
    const { algorithm, hex } = digestParts(manifest);
    return `.mirror/members/${folderOf(repository)}/_${algorithm}_${hex}.json`;
  },
  /** The bundle of an attestation, by a name that its writer chooses. */
  attestation: (name: string) => `.mirror/attestations/${name}.json`,
  /** The file that other tools need beside the tag index, and its content. */
  marker: (repository: string) => ({
    key: `${REPOSITORIES}${folderOf(repository)}${MARKER}`,
    content: '{"imageLayoutVersion":"1.0.0"}',
  }),
  /** The repository whose tag index has this key; undefined for any other key. */
  repositoryOf: (key: string) => repositoryWith(key, TAG_INDEX),
  /** The repository whose marker has this key; undefined for any other key. */
  markedBy: (key: string) => repositoryWith(key, MARKER),
  /** Whether the key is that of a tag index whose folder is not the name of a repository. */
  isForeignIndex: (key: string) =>
    key.startsWith(REPOSITORIES) && key.endsWith(TAG_INDEX) && repositoryWith(key, TAG_INDEX) === undefined,
  /** The prefix of all run reports' keys. */
  runs: RUNS,
  /** The report of one image of a run; without `image`, the prefix of all the run's keys. */
  runReport: (run: string, image?: string) => `${RUNS}${run}/${image === undefined ? '' : fileOf(image)}`,
  runStart: (run: string) => `${RUNS}${run}/run.json`,
  runSummary: (run: string) => `${RUNS}${run}/summary.json`,
  /** The prefix of the records of all runs that are not finished. */
  openRuns: OPEN,
  /** The record of a handled message of an open run; without `message`, the start of the run with the ids of its messages. */
  openRun: (run: string, message = START) => `${OPEN}${run}/${message}.json`,
  /** The run and the message of a key below `openRuns`; without a message for the start. */
  openRunOf(key: string): { readonly run: string; readonly message: string | undefined } | undefined {
    const [, run, message] = /^\.mirror\/runs\/\.open\/([A-Za-z0-9-]+)\/([a-z0-9]+)\.json$/.exec(key) ?? [];
    return run === undefined ? undefined : { run, message: message === START ? undefined : message };
  },
  /** The object that names the run which has queued an image. */
  queuedImage: (image: string) => `${QUEUED}${fileOf(image)}`,
  /** The run whose report or start has this key; undefined for any other key. */
  runOf(key: string): string | undefined {
    if (key.startsWith(QUEUED)) return undefined;
    const [run, file, ...more] = key.startsWith(RUNS) ? key.slice(RUNS.length).split('/') : [];
    return file !== undefined && more.length === 0 ? run : undefined;
  },
} as const;

export type Layout = typeof ociLayout;

/** A folder or a prefix of any name may lie below `repositories/`; other programs get the names of repositories. */
function repositoryWith(key: string, file: string): string | undefined {
  if (!key.startsWith(REPOSITORIES) || !key.endsWith(file)) return undefined;
  const folder = key.slice(REPOSITORIES.length, -file.length);
  const slash = folder.indexOf('/');
  const name = folder.slice(0, slash).replaceAll('_', ':') + folder.slice(slash);
  return slash !== -1 && isRepository(name) ? name : undefined;
}

/** An image's reference may be longer than a file name, and contains slashes. */
function fileOf(image: string): string {
  return `${createHash('sha256').update(image).digest('hex')}.json`;
}

function pathOf(digest: Digest): string {
  const { algorithm, hex } = digestParts(digest);
  return `${algorithm}/${hex}`;
}

function folderOf(repository: string): string {
  const slash = repository.indexOf('/');
  return repository.slice(0, slash).replaceAll(':', '_') + repository.slice(slash);
}
