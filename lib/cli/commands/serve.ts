import { readFile } from 'node:fs/promises';
import { Archive } from '../../archive/archive.ts';
import { openArchive } from '../../app/open-archive.ts';
import { repositoriesOf } from '../../app/repositories.ts';
import { parseAsOf } from '../../core/as-of.ts';
import { Failure, invalid } from '../../core/failure.ts';
import { plural } from '../../core/format.ts';
import { wordsFor } from '../../core/system-error.ts';
import { parseRepository } from '../../oci/reference.ts';
import { show } from '../../oci/show.ts';
import type { Access, Listening } from '../../serve/listen.ts';
import { defineCommand, usage } from '../command.ts';
import { hintsFor } from '../output/serve-hints.ts';
import { EXIT, type Io, writeLine } from '../output/io.ts';

interface ServeRequest {
  readonly archive: string;
  readonly host: string;
  readonly port: number;
  readonly defaultHost: string | undefined;
  readonly asOf: number | undefined;
  readonly proxyBlobs: boolean;
  readonly tls: { readonly cert: string; readonly key: string } | undefined;
}

/** The entries of tag indexes in memory, about 200 MB. */
const KEPT_ENTRIES = 200_000;

export const serve = defineCommand({
  name: 'serve',
  summary: 'let tools pull images from an archive',
  usage: ['ARCHIVE [--listen HOST:PORT] [options]'],
  description: [
    'A read-only registry: containerd, Docker, podman, skopeo, crane, oras and regctl pull from it (docs/serve.md). Everyone who can ' +
      'reach the address can pull everything.',
    'SIGTERM and Ctrl-C let running responses end; a second signal ends the command at once.',
  ],
  options: {
    listen: {
      value: 'HOST:PORT',
      help: 'the address to listen on (default: 127.0.0.1:5000); port 0 takes any free port',
    },
    'default-host': {
      value: 'HOST',
      help: "the registry of names without one, such as docker.io: Docker's registry-mirrors sends none",
    },
    'as-of': {
      value: 'TIME',
      help: 'serve the tags as they were: 2026-01-31T12:00:00Z, or 2026-01-31 for the end of that day in UTC',
    },
    'proxy-blobs': {
      help: 'send the blobs of an archive in S3 through this server, for clients that cannot reach the bucket; without it, redirects lead to S3',
    },
    'tls-cert': { value: 'FILE', isPath: true, help: 'a certificate in PEM, with its chain' },
    'tls-key': { value: 'FILE', isPath: true, help: 'the key of the certificate in PEM' },
  },
  parse(args) {
    const [archive, ...more] = args.positionals;
    if (archive === undefined || more.length > 0)
      throw usage('serve', 'name one archive: a folder, or s3://bucket/prefix');
    const [cert, key] = [args.value('tls-cert'), args.value('tls-key')];
    if ((cert === undefined) !== (key === undefined)) throw usage('serve', '--tls-cert and --tls-key belong together');
    const [time, defaultHost] = [args.value('as-of'), args.value('default-host')];
    const request: ServeRequest = {
      archive,
      ...addressOf(args.value('listen') ?? '127.0.0.1:5000'),
      defaultHost: defaultHost === undefined ? undefined : hostOf(defaultHost),
      asOf: time === undefined ? undefined : parseAsOf(time, '--as-of'),
      proxyBlobs: args.has('proxy-blobs'),
      tls: cert === undefined || key === undefined ? undefined : { cert, key },
    };
    return (io) => serveArchive(request, io);
  },
});

/** Serves until a signal, and resolves when the last response is sent. */
async function serveArchive(request: ServeRequest, io: Io): Promise<number> {
  const { archive: address, asOf, defaultHost, proxyBlobs } = request;
  const { stdout, stderr, signal } = io;
  const tls = await readTls(request);
  // The stop signal aborts the start of the command. Afterwards, running responses end first.
  const never = new AbortController().signal;
  await using opened = await openArchive(address, 'read', { ...io, signal: never });
  const archive = new Archive(opened.archive.store, opened.archive.layout, KEPT_ENTRIES);
  const repositories = await repositoriesOf(archive, { name: 'serve', archive: address, repositories: [] }, signal);
  // Loaded when it is needed: no other command has a server.
  const [{ Registry }, { listen }] = await Promise.all([
    import('../../serve/registry.ts'),
    import('../../serve/listen.ts'),
  ]);
  const registry = new Registry({ archive, defaultHost, asOf, proxyBlobs, onFault: (text) => writeLine(stderr, text) });
  const { host, port } = request;
  const onAccess = (access: Access): void => writeLine(stdout, lineOf(access));
  const server = await listen(registry, { host, port, tls, onAccess });
  const when = asOf === undefined ? '' : ` as of ${new Date(asOf).toISOString()}`;
  const count = plural(repositories.length, 'repository', 'repositories');
  writeLine(stderr, `serving ${address} (${count})${when} on ${server.url}`);
  const options = { url: server.url, repositories, defaultHost, isTls: tls !== undefined };
  for (const line of hintsFor(options)) writeLine(stderr, line);
  await stopped(server, signal, () => writeLine(stderr, 'stopping: running responses end, and new ones are refused'));
  return EXIT.ok;
}

async function stopped(server: Listening, signal: AbortSignal, onStop: () => void): Promise<void> {
  const stop = Promise.withResolvers<undefined>();
  signal.addEventListener('abort', () => {
    stop.resolve(undefined);
  });
  if (!signal.aborted) await stop.promise;
  onStop();
  await server.drain();
}

function lineOf({ client, method, target, status, bytes, ms }: Access): string {
  const size = bytes === undefined ? 'interrupted' : String(bytes);
  return `${new Date().toISOString()}  ${client}  ${method} ${target.slice(0, 1_000)}  ${status}  ${size}  ${ms.toFixed(0)} ms`;
}

async function readTls({
  tls,
}: ServeRequest): Promise<{ readonly cert: Uint8Array; readonly key: Uint8Array } | undefined> {
  if (tls === undefined) return undefined;
  const read = async (file: string): Promise<Uint8Array> => {
    try {
      return await readFile(file);
    } catch (error) {
      throw invalid(`read TLS file ${file}`, wordsFor(error));
    }
  };
  const [cert, key] = await Promise.all([read(tls.cert), read(tls.key)]);
  return { cert, key };
}

function addressOf(text: string): { readonly host: string; readonly port: number } {
  const [, bracketed, plain, port = ''] = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text) ?? [];
  const host = bracketed ?? plain;
  if (host === undefined || Number(port) > 65_535)
    throw usage('serve', `--listen must be HOST:PORT, such as 127.0.0.1:5000 or [::1]:5000, not ${show(text)}`);
  return { host, port: Number(port) };
}

function hostOf(text: string): string {
  try {
    const { host } = parseRepository(`${text}/library/x`);
    if (/[.:]/.test(text) || text === 'localhost') return host;
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
  }
  throw usage('serve', `--default-host must be a host, such as docker.io or localhost:5000, not ${show(text)}`);
}
