/**
 * The library: what `import { … } from 'mirror-sync'` gives (docs/api.md). It wires what the command line wires. Everything that
 * this file does not export is internal.
 */
import { availableParallelism } from 'node:os';
import { invalid } from './core/failure.ts';
import { Archive } from './archive/archive.ts';
import { ociLayout } from './archive/oci-layout.ts';
import type { ObjectStore } from './store/store.ts';
import type { TagEntry } from './archive/tag-index/tag-index.ts';
import { type OpenArchive, openArchive as openAddress } from './app/open-archive.ts';
import { readConfig, readTrustedRoot } from './app/config-file.ts';
import { DEFAULT_CONCURRENCY, DEFAULT_MAX_WAIT_MS, MAX_CONCURRENCY } from './app/defaults.ts';
import type { Host } from './app/host.ts';
import { checkKind, checkOptions, type Kind, KINDS, oneOf, wholeNumber } from './app/option-kinds.ts';
import { repositoriesOf } from './app/repositories.ts';
import { runSync, type SyncRequest } from './app/sync.ts';
import type { Summary } from './app/outcomes.ts';
import { parseForeignHost, parseHost } from './config/hosts.ts';
import { parseGlob } from './oci/glob.ts';
import type { MirrorEvent } from './sync/events.ts';
import { type Problem, type Progress, type Verified, verifyArchive } from './upkeep/verify.ts';
import { type Digest, parseDigest } from './oci/digest.ts';
import { parsePlatform } from './oci/platform.ts';
import { formatRepository, parseReference, parseRepository, type Reference, withDefaultTag } from './oci/reference.ts';

export { Failure, type FailureCode, type Remedy, type Side } from './core/failure.ts';
export type { ObjectStore } from './store/store.ts';
export type { TagEntry } from './archive/tag-index/tag-index.ts';
export type { MirrorEvent } from './sync/events.ts';
export type { Digest } from './oci/digest.ts';

interface Common {
  /** Stops the work: the promise rejects with the signal's reason. */
  readonly signal?: AbortSignal;
  /** Environment variables for credentials, proxies and S3; `process.env` by default. */
  readonly env?: Readonly<Record<string, string | undefined>>;
}

export interface OpenOptions extends Common {
  /** Allows an archive that does not exist yet. By default that is an error. */
  readonly create?: boolean;
}

/** An open archive, for reading and as the destination of `sync`. Close it with `await using` or `[Symbol.asyncDispose]()`. */
export interface ArchiveHandle extends AsyncDisposable {
  /** A folder's path, or `s3://bucket/prefix`. */
  readonly name: string;
  /** Every repository that has a tag index: `docker.io/library/alpine`. */
  repositories(): AsyncIterable<string>;
  /** The tag index of a repository: tags in the order of their names, then the digests without a tag. Empty if it is missing. */
  tagIndex(repository: string): Promise<readonly TagEntry[]>;
  /** A manifest, a config or another small blob, checked against its digest; undefined if it is missing. */
  content(digest: Digest, options: { readonly maxBytes: number }): Promise<Uint8Array | undefined>;
}

const opened = new WeakMap<ArchiveHandle, OpenArchive>();

/** Opens the archive in a folder, at `s3://bucket/prefix`, or in an object store of your own. */
export async function openArchive(at: string | ObjectStore, options: OpenOptions = {}): Promise<ArchiveHandle> {
  checkKind('open archive', 'address', at, KINDS.address);
  checkOptions('open archive', options, OPEN_OPTIONS);
  const host = hostOf(options);
  const purpose = options.create === true ? 'write' : 'read';
  const open =
    typeof at === 'string' ? await untilAborted(host.signal, () => openAddress(at, purpose, host)) : openStore(at);
  const { archive } = open;
  const handle: ArchiveHandle = {
    name: archive.store.name,
    repositories: () => archive.repositories(),
    tagIndex: async (repository) => (await archive.tagIndex(nameOf(repository)))?.index.entries() ?? [],
    content: async (digest, limits) => {
      checkOptions('read content', limits, { maxBytes: KINDS.size });
      return await archive.content(parseDigest(digest), limits);
    },
    [Symbol.asyncDispose]: () => open[Symbol.asyncDispose](),
  };
  opened.set(handle, open);
  return handle;
}

export interface SyncOptions extends Common {
  /** The archive: a handle, or an address that is opened and closed again. */
  readonly to: ArchiveHandle | string;
  /** The path of a mirror.yaml. References then select what is mirrored of it, and the settings of images are those of the file. */
  readonly config?: string;
  /** Mirrors the tags of each repository that match one of these patterns; `['*']` is all tags. */
  readonly tags?: readonly string[];
  /** Mirrors only these platforms of an index: `linux/amd64`. All by default. */
  readonly platforms?: readonly string[];
  readonly foreignLayers?: 'fetch' | 'skip';
  readonly strictMediaTypes?: boolean;
  readonly insecureRegistries?: readonly string[];
  readonly foreignHosts?: readonly string[];
  /** Credentials in the format of Docker's config.json; by default the files of Docker, podman and skopeo. */
  readonly authfile?: string;
  /** The path of Sigstore's trusted root, for a policy of the archive that requires signatures by certificates. */
  readonly trustedRoot?: string;
  /** Connections per registry, and blobs of a registry that are fetched concurrently: 1 to 64. */
  readonly concurrency?: number;
  /** The longest wait for a registry that limits requests, in milliseconds; 15 minutes by default. */
  readonly maxWaitMs?: number;
  /** Gets each event once. */
  readonly onEvent?: (event: MirrorEvent) => void;
  /** Gets a sentence that is not a result, such as a wait for a registry that limits requests. */
  readonly onNotice?: (text: string) => void;
}

/** The result of each image is in `images`: a failed image does not reject the promise. */
export type SyncResult = Summary;

/** Mirrors images into an archive. Resolves when every image has a result; rejects if the sync itself cannot run. */
export async function sync(references: readonly string[], options: SyncOptions): Promise<SyncResult> {
  checkSync(references, options);
  const host = hostOf(options);
  const { onEvent, onNotice } = options;
  const request = await untilAborted(host.signal, () => requestOf(references, options, host));
  return await withArchive(options.to, 'write', host, async (open) => {
    const result = await runSync(request, open, {
      ...host,
      event: (event) => onEvent?.(event),
      notice: (text) => onNotice?.(text),
    });
    host.signal.throwIfAborted();
    return result;
  });
}

async function requestOf(references: readonly string[], options: SyncOptions, host: Host): Promise<SyncRequest> {
  const { config, trustedRoot: root } = options;
  return {
    references: references.map((text) => referenceOf(text, options)),
    config: config === undefined ? undefined : await readConfig(config, host),
    tags: options.tags,
    platforms: (options.platforms ?? []).map(parsePlatform),
    foreignLayers: options.foreignLayers ?? 'fetch',
    strictMediaTypes: options.strictMediaTypes ?? false,
    insecure: (options.insecureRegistries ?? []).map(parseHost),
    foreignHosts: (options.foreignHosts ?? []).map(parseForeignHost),
    authfile: options.authfile,
    trustedRoot: root === undefined ? undefined : await readTrustedRoot('read trustedRoot', root, host),
    concurrency: options.concurrency ?? DEFAULT_CONCURRENCY,
    maxWaitMs: options.maxWaitMs ?? DEFAULT_MAX_WAIT_MS,
  };
}

/** The options that are settings in a mirror.yaml. */
const CONFIG_SETTINGS = [
  'tags',
  'platforms',
  'foreignLayers',
  'strictMediaTypes',
  'insecureRegistries',
  'foreignHosts',
  'trustedRoot',
] as const;

const COMMON = { signal: KINDS.signal, env: KINDS.object };

const OPEN_OPTIONS: Readonly<Record<keyof OpenOptions, Kind>> = { ...COMMON, create: KINDS.flag };

const SYNC_OPTIONS: Readonly<Record<keyof SyncOptions, Kind>> = {
  ...COMMON,
  to: KINDS.archive,
  config: KINDS.text,
  tags: KINDS.someTexts,
  platforms: KINDS.someTexts,
  foreignLayers: oneOf('fetch', 'skip'),
  strictMediaTypes: KINDS.flag,
  insecureRegistries: KINDS.texts,
  foreignHosts: KINDS.texts,
  authfile: KINDS.text,
  trustedRoot: KINDS.text,
  concurrency: wholeNumber(1, MAX_CONCURRENCY),
  maxWaitMs: { words: 'from 0', accepts: (value) => Number.isFinite(value) && Number(value) >= 0 },
  onEvent: KINDS.callback,
  onNotice: KINDS.callback,
};

function checkSync(references: readonly string[], options: SyncOptions): void {
  checkKind('sync', 'references', references, KINDS.texts);
  checkOptions('sync', options, SYNC_OPTIONS);
  const { to, config, tags } = options;
  checkKind('sync', 'to', to, KINDS.archive);
  if (references.length === 0 && config === undefined)
    throw invalid('sync', 'expected at least one reference or a config, got none');
  const setting = CONFIG_SETTINGS.find((name) => config !== undefined && options[name] !== undefined);
  if (setting !== undefined)
    throw invalid('sync', `${setting} is for references without a config; a mirror.yaml has a setting for it`);
  tags?.forEach(parseGlob);
}

export interface VerifyOptions extends Common {
  /** Only these repositories; all by default. */
  readonly repositories?: readonly string[];
  /** Blobs that are hashed concurrently; the number of processors by default. */
  readonly concurrency?: number;
  readonly onProgress?: (progress: Progress) => void;
  readonly onProblem?: (problem: VerifyProblem) => void;
}

export type VerifyProblem = Pick<Problem, 'repository' | 'reference' | 'root' | 'digest' | 'reason' | 'isHeld'>;

export interface VerifyResult extends Pick<Verified, 'references' | 'held' | 'objects' | 'bytes'> {
  readonly problems: readonly VerifyProblem[];
}

const VERIFY_OPTIONS: Readonly<Record<keyof VerifyOptions, Kind>> = {
  ...COMMON,
  repositories: KINDS.texts,
  concurrency: wholeNumber(1),
  onProgress: KINDS.callback,
  onProblem: KINDS.callback,
};

/** Reads and hashes everything in an archive again. Changes nothing. */
export async function verify(at: ArchiveHandle | string, options: VerifyOptions = {}): Promise<VerifyResult> {
  checkKind('verify', 'archive', at, KINDS.archive);
  checkOptions('verify', options, VERIFY_OPTIONS);
  const host = hostOf(options);
  const { signal } = host;
  const { concurrency = availableParallelism(), onProgress, onProblem } = options;
  return await withArchive(at, 'read', host, async ({ archive }) => {
    const names = (options.repositories ?? []).map(nameOf);
    const named = { operation: 'verify', archive: archive.store.name, repositories: names };
    const { references, held, objects, bytes, problems } = await verifyArchive(archive, {
      signal,
      concurrency,
      repositories: await repositoriesOf(archive, signal, named),
      ...(onProgress === undefined ? {} : { onProgress }),
      ...(onProblem === undefined ? {} : { onProblem }),
    });
    return { references, held, objects, bytes, problems };
  });
}

function openStore(store: ObjectStore): OpenArchive {
  return {
    archive: new Archive(store, ociLayout),
    prepare: () => Promise.resolve({ alone: true }),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

/** Closes only an archive that it opened itself. */
async function withArchive<T>(
  at: ArchiveHandle | string,
  purpose: 'read' | 'write',
  host: Host,
  work: (open: OpenArchive) => Promise<T>,
): Promise<T> {
  return await untilAborted(host.signal, async () => {
    if (typeof at === 'string') {
      await using open = await openAddress(at, purpose, host);
      return await work(open);
    }
    const open = opened.get(at);
    if (open === undefined) throw invalid('open archive', 'the handle is not one that openArchive returned');
    return await work(open);
  });
}

/** The result of the work. An abort may fail the work with a Failure of its own. @throws the signal's reason if it is aborted */
async function untilAborted<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  }
}

function referenceOf(text: string, { config, tags }: SyncOptions): Reference {
  const reference = parseReference(text);
  if (config !== undefined) return reference;
  if (tags === undefined) return withDefaultTag(reference);
  if (reference.tag === undefined && reference.digest === undefined) return reference;
  throw invalid(`sync ${text}`, 'it names one image; with tags, name only the repository');
}

function nameOf(repository: string): string {
  checkKind('parse repository', 'repository', repository, KINDS.text);
  return formatRepository(parseRepository(repository));
}

function hostOf({ signal, env = process.env }: Common): Host {
  return { signal: signal ?? new AbortController().signal, env, platform: process.platform };
}
