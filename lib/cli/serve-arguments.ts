/** Checks the arguments of `mirror-sync serve`. */
import { parseAsOf } from '../core/as-of.ts';
import { Failure } from '../core/failure.ts';
import { parseRepository } from '../oci/reference.ts';
import { show } from '../oci/show.ts';
import { type Arguments, usage } from './command.ts';

export interface ServeCommand {
  readonly archive: string;
  readonly host: string;
  readonly port: number;
  readonly defaultHost: string | undefined;
  readonly asOf: number | undefined;
  readonly proxyBlobs: boolean;
  readonly tls: { readonly cert: string; readonly key: string } | undefined;
  readonly htpasswd: string | undefined;
  /** A mirror.yaml, whose images are mirrored when a client misses them; `-` is standard input. */
  readonly config: string | undefined;
  readonly json: boolean;
  readonly quiet: boolean;
}

export function parseServe(args: Arguments): ServeCommand {
  const [archive, ...more] = args.positionals;
  if (archive === undefined || more.length > 0)
    throw usage('serve', 'name one archive: a folder, or s3://bucket/prefix');
  const [cert, key] = [args.value('tls-cert'), args.value('tls-key')];
  if ((cert === undefined) !== (key === undefined)) throw usage('serve', '--tls-cert and --tls-key belong together');
  const [time, defaultHost] = [args.value('as-of'), args.value('default-host')];
  const config = args.value('config');
  if (config !== undefined && time !== undefined)
    throw usage('serve', '--config mirrors current tags, and --as-of serves earlier ones; leave out one of them');
  return {
    archive,
    ...addressOf(args.value('listen') ?? '127.0.0.1:5000'),
    defaultHost: defaultHost === undefined ? undefined : hostOf(defaultHost),
    asOf: time === undefined ? undefined : parseAsOf(time, '--as-of'),
    proxyBlobs: args.has('proxy-blobs'),
    tls: cert === undefined || key === undefined ? undefined : { cert, key },
    htpasswd: args.value('htpasswd'),
    config,
    json: args.has('json'),
    quiet: args.has('quiet'),
  };
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
    if (!text.includes('/') && (/[.:]/.test(text) || text === 'localhost')) return host;
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
  }
  throw usage('serve', `--default-host must be a host, such as docker.io or localhost:5000, not ${show(text)}`);
}
