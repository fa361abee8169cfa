import { once } from 'node:events';
import { Archive } from '../../archive/archive.ts';
import { openArchive } from '../../app/open-archive.ts';
import { repositoriesOf } from '../../app/repositories.ts';
import { plural } from '../../core/format.ts';
import { inputFile } from '../../core/input-file.ts';
import type { Fill } from '../../serve/fill.ts';
import type { Listening } from '../../serve/listen.ts';
import { requestName } from '../../serve/names.ts';
import { defineCommand } from '../command.ts';
import { accessLog } from '../output/access-log.ts';
import { EXIT, type Io, writeLine } from '../output/io.ts';
import { parseServe, type ServeCommand } from '../serve-arguments.ts';
import { openFill } from '../serve-fill.ts';

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
      help: 'the address to listen on (default: 127.0.0.1:5000); port 0 selects any free port',
    },
    'default-host': {
      value: 'HOST',
      help: "the registry of names without a host, such as docker.io; Docker's registry-mirrors sends no host",
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
    htpasswd: {
      value: 'FILE',
      isPath: true,
      help: 'require a login of this file, which htpasswd -B writes (default: everyone may pull)',
    },
    config: {
      value: 'FILE',
      isPath: true,
      help: 'mirror an image of this mirror.yaml when a client requests a tag that the archive lacks; the next pull finds it',
    },
    quiet: { short: 'q', help: 'print no line per response', elsewhere: ['silent'] },
    json: { help: 'one JSON object per response (docs/json.md)' },
  },
  parse(args) {
    const command = parseServe(args);
    return (io) => serveArchive(command, io);
  },
});

/** Serves until a signal, and resolves when the last response is sent. */
async function serveArchive(command: ServeCommand, io: Io): Promise<number> {
  const { archive: address, asOf } = command;
  const { stderr, signal } = io;
  const say = (text: string): void => writeLine(stderr, text);
  const tls = await readTls(command, signal);
  // The stop signal aborts the start of the command. Afterwards, running responses end first.
  const never = new AbortController().signal;
  const filling = await openFill(command, io);
  // Without an archive yet, the first missing image creates it.
  const purpose = filling === undefined ? 'read' : 'write';
  await using opened = await openArchive(address, purpose, { ...io, signal: never }, { linkedReads: true });
  const archive = new Archive(opened.archive.store, opened.archive.layout, KEPT_ENTRIES);
  const repositories = await repositoriesOf(archive, signal);
  const server = await startServer({ ...command, tls, fill: filling?.fill }, archive, io);
  const when = asOf === undefined ? '' : ` as of ${new Date(asOf).toISOString()}`;
  const count = plural(repositories.length, 'repository', 'repositories');
  say(`serving ${address} (${count})${when} on ${server.url}`);
  if (command.htpasswd !== undefined && tls === undefined && !server.isLoopback) say(PLAIN_LOGINS);
  hintsFor(server.url, address, repositories).forEach(say);
  if (!signal.aborted) await once(signal, 'abort');
  say('stopping: running responses end, and new ones are refused');
  await server.drain();
  await filling?.ended();
  return EXIT.ok;
}

async function startServer(
  command: Omit<ServeCommand, 'tls'> & { readonly tls: Tls | undefined; readonly fill: Fill | undefined },
  archive: Archive,
  io: Io,
): Promise<Listening> {
  const { host, port, tls, fill, htpasswd, defaultHost, asOf, proxyBlobs } = command;
  const onFault = (text: string): void => writeLine(io.stderr, text);
  // Loaded when it is needed: no other command has a server.
  const { HtpasswdLogins, listen, Metrics, Registry } = await import('../../serve/server.ts');
  const logins =
    htpasswd === undefined ? undefined : await HtpasswdLogins.open({ file: htpasswd, onFault, signal: io.signal });
  const metrics = new Metrics();
  const options = { archive, defaultHost, asOf, proxyBlobs, logins, metrics: () => metrics.text(), onFault };
  const log = accessLog(command, io);
  return await listen(new Registry(options), {
    host,
    port,
    tls,
    onAccess(access) {
      metrics.count(access);
      log(access);
      if (fill !== undefined && access.missingTag !== undefined)
        void fill.request(access.missingTag).then((result) => metrics.countOrder(result));
    },
  });
}

/** How to point clients at the archive; examples name a repository of it. */
function hintsFor(url: string, archive: string, repositories: readonly string[]): readonly string[] {
  const { host, protocol } = new URL(url);
  const isTls = protocol === 'https:';
  const repository = repositories.find((name) => requestName(name) !== undefined) ?? 'docker.io/library/alpine';
  const image = `${host}/${requestName(repository) ?? repository}:TAG`;
  return [
    `open ${url}/ in a browser, or pull from it:`,
    `  docker pull ${image}`,
    `  podman pull ${isTls ? '' : '--tls-verify=false '}${image}`,
    `  skopeo copy --all${isTls ? '' : ' --src-tls-verify=false'} docker://${image} docker://REGISTRY/NAME:TAG`,
    'let containerd, Docker, podman or k3s ask it before the registries:',
    `  mirror-sync client-config containerd|docker|podman|k3s --registry ${url} ${archive}`,
  ];
}

const PLAIN_LOGINS =
  'warning: passwords cross the network in plain text; add --tls-cert and --tls-key, or listen on loopback behind a proxy with TLS';

interface Tls {
  readonly cert: Uint8Array;
  readonly key: Uint8Array;
}

async function readTls({ tls }: ServeCommand, signal: AbortSignal): Promise<Tls | undefined> {
  if (tls === undefined) return undefined;
  const read = (file: string): Promise<Uint8Array> => inputFile('read TLS file', file, { signal });
  const [cert, key] = await Promise.all([read(tls.cert), read(tls.key)]);
  return { cert, key };
}
