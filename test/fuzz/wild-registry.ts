/**
 * A registry on a bare socket that serves one repository, and applies a list of faults to its responses: any status, header,
 * body, framing and timing. It implements only the necessary HTTP.
 */
import { once } from 'node:events';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import type { Pushable } from '../kit/images.ts';

export const SECRET = { user: 'bob', password: 'hunter2secret', token: 'tok3n-of-bob' } as const;

export type Kind = 'ping' | 'manifest' | 'blob' | 'tags' | 'token';

/** A fault in the responses to some requests. */
export interface Fault {
  readonly kind: Kind | 'any';
  /** Requests of this kind that pass first. */
  readonly after: number;
  /** Requests of this kind that are affected. */
  readonly times: number;
  readonly act: Act;
}

export type Act =
  | { readonly do: 'nothing' }
  | { readonly do: 'status'; readonly status: number; readonly text: string }
  | { readonly do: 'header'; readonly name: string; readonly value: string }
  | { readonly do: 'drop-header'; readonly name: string }
  | { readonly do: 'body'; readonly how: 'truncate' | 'flip' | 'empty' | 'longer' | 'gzip' }
  | { readonly do: 'text'; readonly text: string }
  | { readonly do: 'socket'; readonly how: 'reset' | 'close' | 'cut' | 'stall' | 'noise' | 'drip' }
  | { readonly do: 'redirect'; readonly status: number; readonly to: string };

export type AuthKind = 'none' | 'basic' | 'bearer';

export interface WildRegistry extends AsyncDisposable {
  /** `127.0.0.1:PORT` */
  readonly host: string;
  /** Sets the faults of the next requests. */
  behave(auth: AuthKind, faults: readonly Fault[]): void;
}

interface Answer {
  status: number;
  headers: Map<string, string>;
  body: Buffer;
}

interface Request {
  readonly method: string;
  readonly path: string;
  readonly headers: ReadonlyMap<string, string>;
}

const REPOSITORY = 'team/app';

export async function startWildRegistry(images: ReadonlyMap<string, Pushable>): Promise<WildRegistry> {
  const manifests = new Map<string, Pushable>();
  const blobs = new Map<string, Buffer>();
  const add = (image: Pushable): void => {
    manifests.set(image.digest, image);
    for (const [digest, bytes] of image.blobs) blobs.set(digest, bytes);
    image.children.forEach(add);
  };
  for (const [tag, image] of images) {
    add(image);
    manifests.set(tag, image);
  }
  let auth: AuthKind = 'none';
  let faults: { fault: Fault; seen: number }[] = [];
  const sockets = new Set<Socket>();
  const server = createServer({ noDelay: true }, (socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.on('close', () => sockets.delete(socket));
    void converse(socket);
  });
  const host = await listen(server, '127.0.0.1');

  async function converse(socket: Socket): Promise<void> {
    let unread = '';
    try {
      for await (const chunk of socket as AsyncIterable<Buffer>) {
        // A TLS handshake begins with this byte: this registry speaks plain HTTP.
        if (unread === '' && chunk[0] === 0x16) return;
        unread += chunk.toString('latin1');
        for (let end = unread.indexOf('\r\n\r\n'); end !== -1; end = unread.indexOf('\r\n\r\n')) {
          const request = readRequest(unread.slice(0, end));
          unread = unread.slice(end + 4 + Number(request.headers.get('content-length') ?? 0));
          if (!(await reply(socket, request))) return;
        }
      }
    } catch {
      // The client closed the connection.
    } finally {
      socket.destroy();
    }
  }

  /** Resolves to whether the connection stays open. */
  async function reply(socket: Socket, request: Request): Promise<boolean> {
    const kind = kindOf(request.path);
    const answer = rightAnswer(kind, request);
    const acts = faults
      .filter((each) => {
        const { kind: wanted, after, times } = each.fault;
        if (wanted !== 'any' && wanted !== kind) return false;
        each.seen += 1;
        return each.seen > after && each.seen <= after + times;
      })
      .map(({ fault }) => fault.act);
    acts.forEach((act) => {
      spoil(answer, act);
    });
    const how = acts.find((act) => act.do === 'socket')?.how;
    if (how === 'reset') {
      socket.resetAndDestroy();
      return false;
    }
    if (how === 'close') return false;
    if (how === 'stall') {
      await once(socket, 'close');
      return false;
    }
    if (how === 'noise') {
      socket.end('\u0000\u00ff HTTP/9.9 what\r\n: :\r\n\r\n');
      return false;
    }
    const head = [...answer.headers].map(([name, value]) => `${name}: ${value}\r\n`).join('');
    const message = Buffer.concat([
      Buffer.from(`HTTP/1.1 ${answer.status} X\r\n${head}\r\n`, 'latin1'),
      request.method === 'HEAD' ? Buffer.alloc(0) : answer.body,
    ]);
    if (how === 'cut') {
      await written(socket, message.subarray(0, Math.floor(message.length * 0.8)));
      return false;
    }
    if (how === 'drip') {
      for (let at = 0; at < message.length; at += 64) {
        await written(socket, message.subarray(at, at + 64));
        await sleep(0);
      }
      return true;
    }
    await written(socket, message);
    return true;
  }

  function rightAnswer(kind: Kind, { method, path, headers }: Request): Answer {
    if (kind === 'token') {
      const allowed = headers.get('authorization') === basic() || method === 'POST';
      return allowed ? json(200, { token: SECRET.token, expires_in: 300 }) : json(401, { details: 'no' });
    }
    const wanted = auth === 'basic' ? basic() : `Bearer ${SECRET.token}`;
    if (auth !== 'none' && headers.get('authorization') !== wanted) {
      const refused = json(401, { errors: [{ code: 'UNAUTHORIZED', message: 'authentication required' }] });
      const challenge = `Bearer realm="http://${host}/token",service="wild",scope="repository:${REPOSITORY}:pull"`;
      refused.headers.set('www-authenticate', auth === 'basic' ? 'Basic realm="wild"' : challenge);
      return refused;
    }
    const last = decodeURIComponent(path.split('?', 1)[0]?.split('/').at(-1) ?? '');
    if (kind === 'ping') return json(200, {});
    if (kind === 'tags') return json(200, { name: REPOSITORY, tags: [...images.keys()] });
    if (kind === 'manifest') {
      const image = manifests.get(last);
      if (image === undefined) return json(404, { errors: [{ code: 'MANIFEST_UNKNOWN', message: 'unknown' }] });
      const found = answerOf(200, image.manifest, image.mediaType);
      found.headers.set('docker-content-digest', image.digest);
      return found;
    }
    const bytes = blobs.get(last);
    if (bytes === undefined) return json(404, { errors: [{ code: 'BLOB_UNKNOWN', message: 'unknown' }] });
    const [, start = '', end = ''] = /^bytes=(\d+)-(\d*)$/.exec(headers.get('range') ?? '') ?? [];
    const [from, to] = [Number(start), end === '' ? bytes.length : Math.min(bytes.length, Number(end) + 1)];
    const part = answerOf(start === '' ? 200 : 206, bytes.subarray(from, to), 'application/octet-stream');
    if (start !== '') part.headers.set('content-range', `bytes ${from}-${to - 1}/${bytes.length}`);
    part.headers.set('etag', `"${last}"`);
    return part;
  }

  return {
    host,
    behave(nextAuth, nextFaults) {
      auth = nextAuth;
      faults = nextFaults.map((fault) => ({ fault, seen: 0 }));
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await closed(server);
    },
  };
}

export interface Recorder extends AsyncDisposable {
  /** `127.0.0.2:PORT`: another host, of another owner. */
  readonly host: string;
  /** All bytes that arrived since the last call. */
  taken(): string;
}

/** A server that records what it is sent, and answers every request with 200. */
export async function startRecorder(): Promise<Recorder> {
  let received = '';
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.on('close', () => sockets.delete(socket));
    socket.on('data', (chunk) => {
      received += chunk.toString('latin1');
      socket.end('HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 14\r\n\r\n{"token":"xy"}');
    });
  });
  const host = await listen(server, '127.0.0.2');
  return {
    host,
    taken() {
      const all = received;
      received = '';
      return all;
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await closed(server);
    },
  };
}

function spoil(answer: Answer, act: Act): void {
  switch (act.do) {
    case 'status': {
      const { status, headers, body } = answerOf(act.status, Buffer.from(act.text), 'text/html');
      Object.assign(answer, { status, headers, body });
      return;
    }
    case 'header':
      answer.headers.set(act.name, act.value.replaceAll(/[\r\n]/g, ' '));
      return;
    case 'drop-header':
      answer.headers.delete(act.name);
      return;
    case 'redirect':
      answer.status = act.status;
      answer.headers.set('location', act.to.replaceAll(/[\r\n]/g, ' '));
      return;
    case 'text':
      answer.body = Buffer.from(act.text);
      break;
    case 'body':
      answer.body = spoilt(answer.body, act.how);
      if (act.how === 'gzip') answer.headers.set('content-encoding', 'gzip');
      break;
    case 'socket':
    case 'nothing':
      return;
  }
  answer.headers.set('content-length', String(answer.body.length));
}

function spoilt(body: Buffer, how: Extract<Act, { do: 'body' }>['how']): Buffer {
  switch (how) {
    case 'truncate':
      return body.subarray(0, Math.floor(body.length / 2));
    case 'flip': {
      const copy = Buffer.from(body);
      if (copy.length > 0) copy[copy.length >> 1] = (copy[copy.length >> 1] ?? 0) ^ 1;
      return copy;
    }
    case 'empty':
      return Buffer.alloc(0);
    case 'longer':
      return Buffer.concat([body, Buffer.alloc(100)]);
    case 'gzip':
      return gzipSync(body);
  }
}

function readRequest(head: string): Request {
  const [line = '', ...lines] = head.split('\r\n');
  const [method = '', path = ''] = line.split(' ');
  const headers = lines.map((each) => {
    const colon = each.indexOf(':');
    return [each.slice(0, colon).toLowerCase(), each.slice(colon + 1).trim()] as const;
  });
  return { method, path, headers: new Map(headers) };
}

function kindOf(path: string): Kind {
  if (path.startsWith('/token')) return 'token';
  if (path.includes('/manifests/')) return 'manifest';
  if (path.includes('/blobs/')) return 'blob';
  return path.includes('/tags/list') ? 'tags' : 'ping';
}

function basic(): string {
  return `Basic ${Buffer.from(`${SECRET.user}:${SECRET.password}`).toString('base64')}`;
}

function json(status: number, value: unknown): Answer {
  return answerOf(status, Buffer.from(JSON.stringify(value)), 'application/json');
}

function answerOf(status: number, body: Buffer, type: string): Answer {
  const headers = new Map([
    ['content-type', type],
    ['content-length', String(body.length)],
    ['docker-distribution-api-version', 'registry/2.0'],
  ]);
  return { status, headers, body };
}

function written(socket: Socket, bytes: Buffer): Promise<void> {
  return new Promise((resolve) => {
    socket.write(bytes, () => {
      resolve();
    });
  });
}

async function listen(server: Server, address: string): Promise<string> {
  server.listen(0, address);
  await once(server, 'listening');
  return `${address}:${(server.address() as AddressInfo).port}`;
}

async function closed(server: Server): Promise<void> {
  server.close();
  await once(server, 'close');
}
