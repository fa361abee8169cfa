/** Serves a registry on a port of this machine. */
import { once } from 'node:events';
import { createServer as createHttpServer, type ServerResponse } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { createSecureContext, type SecureContextOptions } from 'node:tls';
import { createAdaptorServer, type HttpBindings } from '@hono/node-server';
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response';
import { Hono } from 'hono';
import { invalid } from '../core/failure.ts';
import { systemCode, wordsFor } from '../core/system-error.ts';
import { RegistryError } from './errors.ts';
import type { Registry } from './registry.ts';
import { Reply } from './reply.ts';
import type { Served } from './served.ts';
import { Turns } from './turns.ts';

/** A response that was sent, or whose client disconnected. */
export interface Access extends Omit<Served, 'response'> {
  /** The address of the client, or of a proxy in front. */
  readonly client: string;
  readonly method: string;
  readonly target: string;
  readonly status: number;
  /** The bytes of the body; undefined if the client disconnected before the end. */
  readonly bytes: number | undefined;
  /** The bytes that were written to the connection, with headers. */
  readonly sentBytes: number;
  readonly ms: number;
}

export interface ListenOptions {
  readonly host: string;
  /** 0 for any free port. */
  readonly port: number;
  readonly tls?: { readonly cert: Uint8Array; readonly key: Uint8Array } | undefined;
  readonly onAccess?: (access: Access) => void;
  /** The time after which a connection without traffic is ended although its response is not sent, in milliseconds. */
  readonly silenceMs?: number;
}

export interface Listening {
  /** `http://127.0.0.1:5000` */
  readonly url: string;
  /** Whether only this machine reaches it. */
  readonly isLoopback: boolean;
  /** Accepts no more connections, and resolves when all responses are sent. */
  drain(): Promise<void>;
}

/**
 * A client that sends a request while the server closes the idle connection gets an error. Clients and load balancers keep
 * connections for up to 60 s, so the server keeps them longer.
 */
const KEEP_ALIVE_MS = 75_000;

/** A client that reads nothing for so long holds a file, or a connection to S3, that other clients need. */
const SILENCE_MS = 120_000;

/** The interval at which a draining server closes idle connections. */
const IDLE_MS = 50;

/** @throws Failure (side `input`) for an address, a certificate or a key that cannot be used */
export async function listen(registry: Registry, options: ListenOptions): Promise<Listening> {
  const { host, port, tls, silenceMs = SILENCE_MS } = options;
  const app = new Hono<{ Bindings: HttpBindings }>();
  const turns = new Turns();
  app.all('*', async ({ env: { incoming, outgoing }, req: { raw } }) => {
    // A client may disconnect before its response is known.
    const closed = new Promise<void>((resolve) => outgoing.once('close', resolve));
    if (!(await turns.take(incoming.socket, closed))) return RESPONSE_ALREADY_SENT;
    const report = accessOf(incoming, outgoing);
    const served = hostsOf(incoming) > 1 ? ambiguous() : await registry.serve(raw, incoming.url ?? '/');
    void closed.then(() => options.onAccess?.(report(served)));
    const { response } = served;
    if (!(response instanceof Reply)) return response;
    await send(response, outgoing);
    return RESPONSE_ALREADY_SENT;
  });
  const server = createAdaptorServer({
    fetch: app.fetch,
    // HTTP/1.0 has no Host header: the health checks of some load balancers.
    hostname: 'localhost',
    // The embedding program keeps its global classes.
    overrideGlobalObjects: false,
    ...(tls === undefined
      ? { createServer: createHttpServer }
      : { createServer: createHttpsServer, serverOptions: readable(tls) }),
  }) as Server;
  server.prependListener('request', (incoming) => {
    incoming.url = originForm(incoming.url ?? '/');
  });
  server.keepAliveTimeout = KEEP_ALIVE_MS;
  server.timeout = silenceMs;
  await opened(server, host, port);
  const { port: bound, address } = server.address() as AddressInfo;
  const name = host.includes(':') ? `[${host}]` : host;
  return {
    url: `${tls === undefined ? 'http' : 'https'}://${name}:${bound}`,
    isLoopback: /^(?:::ffff:)?127\.|^::1$/.test(address),
    drain: () => drained(server),
  };
}

/** The target without scheme and host, which a client may name in it as to a proxy (RFC 9112, section 3.2.2). */
function originForm(target: string): string {
  const rest = target.replace(/^https?:\/\/[^/?#]*/i, '');
  return rest === target || rest.startsWith('/') ? rest : `/${rest}`;
}

/** The number of Host headers. Node.js refuses a request without one, and keeps the first of several. */
function hostsOf({ rawHeaders }: HttpBindings['incoming']): number {
  return rawHeaders.filter((name, at) => at % 2 === 0 && name.toLowerCase() === 'host').length;
}

/** A proxy in front may have read another of the hosts than this server, so RFC 9112 (section 3.2) demands a refusal. */
function ambiguous(): Served {
  const error = new RegistryError(400, 'UNSUPPORTED', 'the request has several Host headers');
  const facts = { user: undefined, isMiss: false, redirectedBytes: 0, missingTag: undefined };
  return { response: error.response(), kind: 'other', ...facts };
}

/** Records the start of a request, and returns a function that records its end. */
function accessOf(incoming: HttpBindings['incoming'], outgoing: HttpBindings['outgoing']): (served: Served) => Access {
  const started = performance.now();
  const { socket, method = '' } = incoming;
  const sentBefore = socket.bytesWritten;
  const client = (socket.remoteAddress ?? '').replace(/^::ffff:/, '');
  return ({ response: { status, headers }, ...facts }) => {
    const length = method === 'HEAD' ? 0 : Number(headers.get('content-length') ?? 0);
    return {
      ...facts,
      client,
      method,
      target: incoming.url ?? '/',
      status,
      bytes: outgoing.writableFinished ? length : undefined,
      sentBytes: socket.bytesWritten - sentBefore,
      ms: performance.now() - started,
    };
  };
}

/** Sends a response at the pace of its client, and releases its content when the connection ends. */
async function send({ status, headers, content }: Reply, outgoing: ServerResponse): Promise<void> {
  if (content !== null && !(content instanceof Uint8Array) && outgoing.destroyed) {
    await content[Symbol.asyncIterator]().return?.();
    return;
  }
  outgoing.writeHead(status, Object.fromEntries(headers));
  if (content === null || content instanceof Uint8Array) outgoing.end(content ?? undefined);
  else await sendChunks(content, outgoing);
}

async function sendChunks(chunks: AsyncIterable<Uint8Array>, outgoing: ServerResponse): Promise<void> {
  try {
    for await (const chunk of chunks) {
      await written(chunk, outgoing);
      if (outgoing.destroyed) return;
    }
    outgoing.end();
  } catch (error) {
    // The client must not take a part for the whole.
    outgoing.destroy(error instanceof Error ? error : undefined);
  }
}

/** Resolves when the kernel has the chunk, or when the connection has ended. */
function written(chunk: Uint8Array, outgoing: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      outgoing.off('close', done);
      resolve();
    };
    outgoing.once('close', done);
    outgoing.write(chunk, done);
  });
}

type Server = ReturnType<typeof createHttpServer>;

async function opened(server: Server, host: string, port: number): Promise<void> {
  const listening = Promise.withResolvers<undefined>();
  server.once('error', listening.reject);
  server.listen(port, host, () => {
    listening.resolve(undefined);
  });
  try {
    await listening.promise;
  } catch (error) {
    throw invalid(`listen on ${host}:${port}`, faultOf(error));
  }
}

const FAULTS: ReadonlyMap<string | undefined, string> = new Map([
  ['EADDRINUSE', 'another program uses this port; choose another with --listen'],
  ['EACCES', 'this user may not listen there; choose a port above 1023 with --listen'],
  ['EADDRNOTAVAIL', 'this machine does not have the address; choose another with --listen'],
  ['ENOTFOUND', 'the host name is unknown; write an address with --listen'],
]);

function faultOf(error: unknown): string {
  return FAULTS.get(systemCode(error)) ?? wordsFor(error);
}

/** @throws Failure for a certificate or key that OpenSSL refuses, with the option that names its file */
function readable({ cert, key }: { readonly cert: Uint8Array; readonly key: Uint8Array }): {
  readonly cert: Buffer;
  readonly key: Buffer;
} {
  const pair = { cert: Buffer.from(cert), key: Buffer.from(key) };
  accepted({ cert: pair.cert }, 'certificate', 'expected a certificate in PEM in the file of --tls-cert');
  accepted({ key: pair.key }, 'key', 'expected a private key in PEM without a passphrase in the file of --tls-key');
  accepted(pair, 'key', 'the key in the file of --tls-key is not the one of the certificate in the file of --tls-cert');
  return pair;
}

function accepted(options: SecureContextOptions, what: string, problem: string): void {
  try {
    createSecureContext(options);
  } catch (error) {
    throw invalid(`read TLS ${what}`, `${problem} (${error instanceof Error ? error.message : String(error)})`);
  }
}

async function drained(server: Server): Promise<void> {
  server.close();
  // A connection is idle once its response is sent.
  const closing = setInterval(() => {
    server.closeIdleConnections();
  }, IDLE_MS);
  try {
    await once(server, 'close');
  } finally {
    clearInterval(closing);
  }
}
