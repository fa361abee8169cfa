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
import type { Layout } from './layout.ts';

const REPOSITORIES = 'repositories/';
const RUNS = '.mirror/runs/';
/** The names of runs contain no dot, so this is not a run. */
const QUEUED = `${RUNS}.queued/`;
const OPEN = `${RUNS}.open/`;
const START = 'run';
const TAG_INDEX = '/index.json';
const MARKER = '/oci-layout';

export const ociLayout: Layout = {
  blobs: 'blobs/',
  repositories: REPOSITORIES,
  blob: (digest) => `blobs/${pathOf(digest)}`,
  digestOf(key) {
    const [, algorithm, hex] = /^blobs\/([^/]+)\/([^/]+)$/.exec(key) ?? [];
    const text = `${algorithm ?? ''}:${hex ?? ''}`;
    return isDigest(text) ? text : undefined;
  },
  receipt: (digest) => `.mirror/receipts/${pathOf(digest)}.json`,
  tagIndex: (repository) => `${REPOSITORIES}${folderOf(repository)}${TAG_INDEX}`,
  // No part of a path begins with `_`, so no repository below this one has the same key.
  member(repository, manifest) {
    const { algorithm, hex } = digestParts(manifest);
    return `.mirror/members/${folderOf(repository)}/_${algorithm}_${hex}.json`;
  },
  attestation: (name) => `.mirror/attestations/${name}.json`,
  marker: (repository) => ({
    key: `${REPOSITORIES}${folderOf(repository)}${MARKER}`,
    content: '{"imageLayoutVersion":"1.0.0"}',
  }),
  repositoryOf: (key) => repositoryWith(key, TAG_INDEX),
  markedBy: (key) => repositoryWith(key, MARKER),
  runs: RUNS,
  // An image's reference may be longer than a file name, and contains slashes.
  runReport: (run, image) => `${RUNS}${run}/${image === undefined ? '' : fileOf(image)}`,
  runStart: (run) => `${RUNS}${run}/run.json`,
  runSummary: (run) => `${RUNS}${run}/summary.json`,
  openRuns: OPEN,
  openRun: (run, message = START) => `${OPEN}${run}/${message}.json`,
  openRunOf(key) {
    const [, run, message] = /^\.mirror\/runs\/\.open\/([A-Za-z0-9-]+)\/([a-z0-9]+)\.json$/.exec(key) ?? [];
    return run === undefined ? undefined : { run, message: message === START ? undefined : message };
  },
  queuedImage: (image) => `${QUEUED}${fileOf(image)}`,
  runOf(key) {
    if (key.startsWith(QUEUED)) return undefined;
    const [run, file, ...more] = key.startsWith(RUNS) ? key.slice(RUNS.length).split('/') : [];
    return file !== undefined && more.length === 0 ? run : undefined;
  },
};

function repositoryWith(key: string, file: string): string | undefined {
  if (!key.startsWith(REPOSITORIES) || !key.endsWith(file)) return undefined;
  const folder = key.slice(REPOSITORIES.length, -file.length);
  const slash = folder.indexOf('/');
  return slash === -1 ? undefined : folder.slice(0, slash).replaceAll('_', ':') + folder.slice(slash);
}

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
