import { randomUUID } from 'node:crypto';
import { homedir } from 'node:os';
import { asFailure } from '../base/failure.ts';
import type { Archive } from '../archive/archive.ts';
import { type Config, registrySettings } from '../config/mirrors.ts';
import { cleanUploads } from '../mirror/clean.ts';
import { imageName, type MirrorEvent } from '../mirror/events.ts';
import { runName } from '../mirror/reports.ts';
import { ALL_TAGS, type TagSelection } from '../config/tags.ts';
import { choiceOf, tagChoice } from '../order/choose.ts';
import { ordersOf, ordersOfSome, ordersTo } from '../order/start.ts';
import type { ResolveMessage, Scope } from '../queue/messages.ts';
import type { Outgoing } from '../queue/queue.ts';
import { loadCredentials } from '../registry/credentials.ts';
import type { RetryInfo } from '../registry/patience.ts';
import { FOREIGN_HOSTS } from '../registry/foreign-hosts.ts';
import { proxyFrom } from '../registry/proxy.ts';
import { createSources } from '../registry/sources.ts';
import type { SyncCommand } from './command.ts';
import { readConfig, refuseFiles } from './config-file.ts';
import type { OpenArchive } from './destination.ts';
import { seconds } from './format.ts';
import { EXIT, type Io, stoppedCode } from './io.ts';
import { runLocal } from './local-run.ts';
import { Outcomes } from './outcomes.ts';
import { printerFor } from './output.ts';
import type { Printer, Summary } from './printer.ts';

/** A wait that a person would take for a hang, in milliseconds. */
const TOLD_WAIT_MS = 1_000;

/** What the record says of images that have no result. */
const INTERRUPTED = { code: 'aborted', reason: 'interrupted; run the same command again to continue' };
const UNFINISHED = { code: 'internal', reason: 'it did not finish' };

const NOT_ALONE = 'another sync is running on this archive; both go on, and blobs that both need may be fetched twice';

/** Mirrors what the command names into the archive, and tells of it. Resolves to the exit code. */
export async function sync(command: SyncCommand, { archive, prepare }: OpenArchive, io: Io): Promise<number> {
  const { concurrency } = command;
  await refuseFiles(command.names);
  const config = command.config === undefined ? undefined : await readConfig(command.config, io);
  const run = runName(Date.now(), randomUUID().slice(0, 8));
  const messages = ordersFor(command, config, run);
  const printer = printerFor(command, io);
  const sources = await openSources(command, config, io, printer);
  const outcomes = new Outcomes();
  const observe = (event: MirrorEvent): void => {
    if (outcomes.observe(event)) printer.event(event);
  };
  const started = performance.now();
  const tellStopping = (): void => {
    printer.notice('stopping; what has arrived is kept (again to end at once)');
  };
  io.signal.addEventListener('abort', tellStopping, { once: true });
  try {
    // Before anything is asked of a registry: an archive that cannot be written is one error, and not one for each image.
    if (!(await prepare()).alone) printer.notice(NOT_ALONE);
    for (const { message } of messages)
      if (message.what.kind === 'images')
        for (const wanted of message.what.images) outcomes.expect(imageName(message, wanted));
    await runLocal({
      archive,
      sources,
      observe,
      signal: io.signal,
      concurrency,
      messages,
      limits: config?.limits,
      chooseTags: (order) => (config === undefined ? choiceOf(selectionOf(command.tags)) : tagChoice(config, order)),
    });
    if (!io.signal.aborted) await clean(archive, printer, io.signal);
    const images = [...outcomes.all(io.signal.aborted ? INTERRUPTED : UNFINISHED)];
    const summary = summarise({ run, images, warnings: outcomes.warnings, elapsedMs: performance.now() - started });
    printer.summary(summary);
    if (io.signal.aborted) return stoppedCode(io.signal);
    return summary.failed === 0 ? EXIT.ok : EXIT.failed;
  } finally {
    io.signal.removeEventListener('abort', tellStopping);
    printer.close();
    await sources.close();
  }
}

async function openSources(
  { concurrency, insecure, authfile, foreignHosts, maxWaitMs }: SyncCommand,
  config: Config | undefined,
  { env }: Io,
  printer: Printer,
): Promise<ReturnType<typeof createSources>> {
  const credentials = await loadCredentials({ authfile, env, home: homedir() });
  const proxy = proxyFrom(env);
  const onRetry = ({ failure, afterMs }: RetryInfo): void => {
    if (afterMs >= TOLD_WAIT_MS) printer.notice(`${failure.message}; trying again in ${seconds(afterMs)}`);
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
  return createSources({
    ...common,
    connections: settings.connections,
    insecure: settings.insecure,
    privateAddresses: settings.privateAddresses,
    tokenServices: settings.tokenServices,
    endpoints: settings.endpoints,
    foreignHosts: settings.foreignHosts,
    credentials: {
      async find(host, path, options) {
        const name = settings.credentials(host);
        return name === false ? undefined : credentials.find(name, path, options);
      },
      explain(host) {
        const name = settings.credentials(host);
        return name === false ? 'mirror.yaml says credentials: false' : credentials.explain?.(name);
      },
    },
  });
}

function ordersFor(command: SyncCommand, config: Config | undefined, run: string): Outgoing<ResolveMessage>[] {
  if (config !== undefined)
    return command.references.length === 0 ? ordersOf(config, run) : ordersOfSome(config, command.references, run);
  const scope: Scope = {
    platforms: command.platforms.length === 0 ? 'all' : command.platforms,
    ...(command.foreignLayers === 'skip' ? { foreignLayers: 'skip' } : {}),
    ...(command.strictMediaTypes ? { strictMediaTypes: true } : {}),
  };
  return ordersTo(command.references, (source) => [{ run, source, repository: source, ...scope }]);
}

function selectionOf(tags: SyncCommand['tags']): TagSelection {
  return tags === undefined ? ALL_TAGS : { kind: 'filtered', include: tags, exclude: [] };
}

/** A failure here changes nothing about what was mirrored: every sync tries again. */
async function clean(archive: Archive, printer: Printer, signal: AbortSignal): Promise<void> {
  try {
    await cleanUploads(archive, { now: Date.now(), signal });
  } catch (error) {
    printer.notice(`unfinished uploads could not be cleaned: ${asFailure(error, 'clean', 'archive').message}`);
  }
}

function summarise(result: Pick<Summary, 'run' | 'images' | 'warnings' | 'elapsedMs'>): Summary {
  const count = (status: string): number => result.images.filter((image) => image.status === status).length;
  return {
    mirrored: count('mirrored'),
    unchanged: count('unchanged'),
    failed: count('failed'),
    bytes: result.images.reduce((sum, { bytes }) => sum + bytes, 0),
    ...result,
  };
}
