/** One sync without a user interface, for the command line and the library (lib/index.ts). */
import { randomUUID } from 'node:crypto';
import { homedir } from 'node:os';
import { asFailure } from '../core/failure.ts';
import type { Archive } from '../archive/archive.ts';
import { registrySettings } from '../config/mirrors.ts';
import { ALL_TAGS, type TagSelection } from '../config/tags.ts';
import { cleanUploads } from '../upkeep/clean.ts';
import { imageName, type ImageName, type MirrorEvent } from '../sync/events.ts';
import type { NotAttestedHandler } from '../sync/finalizer/attestations.ts';
import { closeInitial } from '../sync/finalizer/changes.ts';
import { runName } from '../sync/reports.ts';
import { attestorWith } from './attest-key.ts';
import { choiceOf, configuredPolicy, tagChoice } from './choose.ts';
import type { LoadedConfig } from './config-file.ts';
import { ordersOf, ordersOfSome, ordersTo } from './start.ts';
import type { Order, ResolveMessage, Scope } from '../queue/messages.ts';
import type { Outgoing } from '../queue/queue.ts';
import { loadCredentials, renamed } from '../registry/auth/credentials.ts';
import { FOREIGN_HOSTS } from '../registry/http/foreign-hosts.ts';
import type { RetryInfo } from '../registry/http/retry-wait.ts';
import { proxyFrom } from '../registry/http/proxy.ts';
import { createSources } from '../registry/sources.ts';
import type { Platform } from '../oci/platform.ts';
import type { Reference } from '../oci/reference.ts';
import type { OpenArchive } from './open-archive.ts';
import { seconds } from '../core/format.ts';
import type { Host } from './host.ts';
import { runLocal } from './local-run.ts';
import { countByStatus, Outcomes, type Summary } from './outcomes.ts';

/** The images to mirror, and the settings of the sync. */
export interface SyncRequest {
  /** References select mirrors of the configuration; without references all of it is mirrored. */
  readonly config: LoadedConfig | undefined;
  /**
   * Each has a tag or a digest; where tags are chosen (`tags`, or a configuration), a name alone is a repository. With a
   * configuration they select mirrors of it; without any, all of it is mirrored.
   */
  readonly references: readonly Reference[];
  /** The patterns that select tags of the named repositories. */
  readonly tags: readonly string[] | undefined;
  readonly platforms: readonly Platform[];
  readonly foreignLayers: 'fetch' | 'skip';
  readonly strictMediaTypes: boolean;
  /** Hosts from which invalid certificates and plain HTTP are accepted. */
  readonly insecure: readonly string[];
  readonly authfile: string | undefined;
  /** Connections per registry, and blobs of a registry that are fetched concurrently. */
  readonly concurrency: number;
  /** Hosts in addition to Microsoft's from which foreign layers are fetched. */
  readonly foreignHosts: readonly string[];
  /** The maximum wait for a registry's rate limit, in milliseconds. */
  readonly maxWaitMs: number;
  /** The trusted root of Sigstore, for signers with an identity in a recorded policy; a configuration has its own. */
  readonly trustedRoot?: Uint8Array | undefined;
  /** The key of attestations: a file, or the ARN of a key in KMS. */
  readonly attestKey?: string | undefined;
}

/** The settings of a sync whose messages are known. */
export type SyncSettings = Omit<SyncRequest, 'references' | keyof Scope>;

/** The process that runs the sync, and the receivers of its reports. */
export interface SyncHost extends Pick<Host, 'env' | 'signal'> {
  /** Gets the name of each image that the request names; images from a list of tags are named by their events. */
  readonly expect?: (name: ImageName) => void;
  /** Gets each event once. */
  readonly event: (event: MirrorEvent) => void;
  readonly notice: Notice;
}

/**
 * Gets a sentence that is not a result: another sync is running, a registry limits requests. A warning is about work that the run
 * has not done.
 */
export type Notice = (text: string, kind?: 'warning') => void;

/** A longer wait is reported, because it would look like a hang. */
const NOTED_WAIT_MS = 1_000;

/** The result of an image that has none when the run ends. */
const INTERRUPTED = { code: 'aborted', reason: 'interrupted; run the same command again to continue' };
const UNFINISHED = { code: 'internal', reason: 'the image was not finished' };

const NOT_ALONE = 'another sync is running on this archive; both go on, and blobs that both need may be fetched twice';

/** Mirrors the request into the archive. An aborted sync resolves as well: its unfinished images have failed. */
export async function runSync(request: SyncRequest, opened: OpenArchive, host: SyncHost): Promise<Summary> {
  const run = runName(Date.now(), randomUUID().slice(0, 8));
  const summary = await runMessages({ run, messages: ordersFor(request, run) }, request, opened, host);
  if (request.references.length === 0 && !host.signal.aborted)
    await completeFirst(request.config, opened.archive, summary);
  return summary;
}

/** Ends the first run of each repository that has no failures. */
async function completeFirst(config: SyncRequest['config'], archive: Archive, { images }: Summary): Promise<void> {
  const failed = new Set(images.flatMap(({ status, repository }) => (status === 'failed' ? [repository] : [])));
  for (const { repository, policy } of config?.mirrors ?? [])
    if (policy !== undefined && policy.minimumAgeMs > 0 && !failed.has(repository))
      await closeInitial(archive, repository, Date.now());
}

/** Mirrors the images of messages to the resolver into the archive, as `runSync`. */
export async function runMessages(
  { run, messages }: { readonly run: string; readonly messages: readonly Outgoing<ResolveMessage>[] },
  request: SyncSettings,
  { archive, prepare }: OpenArchive,
  host: SyncHost,
): Promise<Summary> {
  const { config, concurrency } = request;
  const { signal, notice } = host;
  const sources = await openSources(request, host);
  const outcomes = new Outcomes();
  const observe = (event: MirrorEvent): void => {
    if (outcomes.observe(event)) host.event(event);
  };
  const started = performance.now();
  try {
    // An archive that is not writable is one error, and not one per image.
    if (!(await prepare()).alone) notice(NOT_ALONE);
    for (const name of namesOf(messages)) {
      outcomes.expect(name);
      host.expect?.(name);
    }
    await runLocal({
      archive,
      sources,
      observe,
      signal,
      concurrency,
      messages,
      limits: config?.limits,
      trustedRoot: config === undefined ? request.trustedRoot : config.root,
      attestor: attestorWith(request.attestKey, signal),
      onNotAttested: noticesOfArchived(notice),
      ...(config === undefined ? {} : { policyOf: (order: Order) => configuredPolicy(config, order) }),
      chooseTags: (order) => (config === undefined ? choiceOf(selectionOf(request.tags)) : tagChoice(config, order)),
    });
    if (!signal.aborted) await clean(archive, host);
    return summarise({ run, outcomes, isAborted: signal.aborted, elapsedMs: performance.now() - started });
  } finally {
    await sources.close();
  }
}

/** Images that the run mirrors have a note of their own. One notice for each repository is enough. */
function noticesOfArchived(notice: SyncHost['notice']): NotAttestedHandler {
  const noticed = new Set<string>();
  return ({ detail }, repository, archived) => {
    if (archived === undefined || noticed.has(repository)) return;
    noticed.add(repository);
    notice(`attest images of ${repository}: ${detail}`, 'warning');
  };
}

/** The images that messages name; the tags of a list are not known yet. */
function namesOf(messages: readonly Outgoing<ResolveMessage>[]): readonly ImageName[] {
  return messages.flatMap(({ message }) =>
    message.what.kind === 'images' ? message.what.images.map((wanted) => imageName(message, wanted)) : [],
  );
}

async function openSources(
  request: SyncSettings,
  { env, notice, signal }: SyncHost,
): Promise<ReturnType<typeof createSources>> {
  const { config, concurrency, insecure, authfile, foreignHosts, maxWaitMs } = request;
  const credentials = await loadCredentials({ authfile, env, home: homedir(), signal });
  const proxy = proxyFrom(env);
  const onRetry = ({ failure, afterMs }: RetryInfo): void => {
    if (afterMs >= NOTED_WAIT_MS) notice(`${failure.message}; trying again in ${seconds(afterMs)}`);
  };
  const common = { proxy, onRetry, maxWaitMs };
  if (config === undefined)
    return createSources({
      ...common,
      connections: concurrency,
      insecure,
      credentials,
      ...(foreignHosts.length === 0 ? {} : { foreignHosts: [...FOREIGN_HOSTS, ...foreignHosts] }),
    });
  const settings = registrySettings(config, concurrency);
  return createSources({ ...common, ...settings, credentials: renamed(credentials, settings.credentials) });
}

function ordersFor(request: SyncRequest, run: string): Outgoing<ResolveMessage>[] {
  const { config, references, platforms } = request;
  if (config !== undefined)
    return references.length === 0 ? ordersOf(config, run) : ordersOfSome(config, references, run);
  const scope: Scope = {
    platforms: platforms.length === 0 ? 'all' : platforms,
    ...(request.foreignLayers === 'skip' ? { foreignLayers: 'skip' } : {}),
    ...(request.strictMediaTypes ? { strictMediaTypes: true } : {}),
  };
  return ordersTo(references, (source) => [{ run, source, repository: source, ...scope }]);
}

function selectionOf(tags: SyncRequest['tags']): TagSelection {
  return tags === undefined ? ALL_TAGS : { kind: 'filtered', include: tags, exclude: [] };
}

/** A failure does not affect the mirrored images; the next sync tries again. */
async function clean(archive: Archive, { notice, signal }: SyncHost): Promise<void> {
  try {
    await cleanUploads(archive, { now: Date.now(), signal });
  } catch (error) {
    notice(`unfinished uploads could not be cleaned: ${asFailure(error, 'clean', 'archive').message}`, 'warning');
  }
}

function summarise({
  outcomes,
  isAborted,
  ...result
}: Pick<Summary, 'run' | 'elapsedMs'> & { readonly outcomes: Outcomes; readonly isAborted: boolean }): Summary {
  const { warnings, referrers } = outcomes;
  const images = [...outcomes.all(isAborted ? INTERRUPTED : UNFINISHED)];
  return {
    ...countByStatus(images),
    bytes: images.reduce((sum, { bytes }) => sum + bytes, referrers.bytes),
    ...result,
    images,
    warnings,
    referrers: referrers.mirrored,
  };
}
