/** Registries that attack their clients, one kind each. All serve the repository `a/b`; the tag `v1` is the bait. */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { sha256 } from './content.ts';

export interface Hostile {
  readonly name: string;
  /** The tags of mirror.yaml; `[v1]` by default. */
  readonly tags?: string;
  /** Answers a request; `other` is a host of another owner. */
  readonly serve: (request: Asked, response: ServerResponse, other: string) => void | Promise<void>;
  /** `mirrored` if the image is mirrored although the registry attacks. */
  readonly expected?: 'mirrored';
  /** The expected reason of the failure. */
  readonly reason?: RegExp;
}

interface Asked {
  readonly path: string;
  readonly query: URLSearchParams;
  readonly method: string;
  readonly authorization: string | undefined;
}

export interface HostileServer extends AsyncDisposable {
  readonly host: string;
}

export async function startHostile({ serve }: Hostile, other: string): Promise<HostileServer> {
  const server = createServer({ maxHeaderSize: 1 << 20 }, (request: IncomingMessage, response: ServerResponse) => {
    const url = new URL(request.url ?? '/', 'http://x');
    const asked = {
      path: url.pathname,
      query: url.searchParams,
      method: request.method ?? 'GET',
      authorization: request.headers.authorization,
    };
    response.on('error', () => undefined);
    void Promise.resolve(serve(asked, response, other)).catch(() => response.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
}

const MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
const INDEX = 'application/vnd.oci.image.index.v1+json';
const LAYER = 'application/vnd.oci.image.layer.v1.tar+gzip';
const ZSTD_LAYER = 'application/vnd.oci.image.layer.v1.tar+zstd';
const CONFIG = 'application/vnd.oci.image.config.v1+json';

function send(response: ServerResponse, status: number, type: string, body: Uint8Array | string): void {
  const bytes = Buffer.from(body as string);
  response.writeHead(status, { 'content-type': type, 'content-length': bytes.length });
  response.end(bytes);
}

const json = (response: ServerResponse, value: unknown, status = 200): void => {
  send(response, status, 'application/json', JSON.stringify(value));
};

const failed = (response: ServerResponse, code: string, message: string, status = 404): void => {
  json(response, { errors: [{ code, message }] }, status);
};

/**
 * Writes until the client closes the connection.
 *
 * @param isRaw whether the bytes have their framing as chunks
 */
async function endless(response: ServerResponse, type: string, chunk: Buffer, isRaw = false): Promise<void> {
  response.setHeader('content-type', type);
  if (response.req.method === 'HEAD') {
    response.end();
    return;
  }
  const closed = new AbortController();
  response.once('close', () => {
    closed.abort();
  });
  response.flushHeaders();
  const receiver = isRaw ? response.socket : response;
  while (receiver !== null && !closed.signal.aborted)
    if (!receiver.write(chunk)) await once(receiver, 'drain', { signal: closed.signal }).catch(() => undefined);
}

/** Serves one manifest, and the blobs that it names. */
function image(manifest: Buffer, type: string, blobs: ReadonlyMap<string, Uint8Array>): Hostile['serve'] {
  return ({ path }, response) => {
    const last = path.split('/').at(-1) ?? '';
    const blob = blobs.get(last);
    if (path.includes('/manifests/')) send(response, 200, type, manifest);
    else if (blob === undefined) failed(response, 'BLOB_UNKNOWN', 'unknown');
    else send(response, 200, 'application/octet-stream', blob);
  };
}

function imageOf(layers: readonly { blob: Uint8Array; type: string; diffId: string }[]): Hostile['serve'] {
  const config = Buffer.from(
    JSON.stringify({
      architecture: 'amd64',
      os: 'linux',
      rootfs: { type: 'layers', diff_ids: layers.map(({ diffId }) => diffId) },
    }),
  );
  const descriptor = (mediaType: string, bytes: Uint8Array): object => ({
    mediaType,
    digest: sha256(bytes),
    size: bytes.length,
  });
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: MANIFEST,
      config: descriptor(CONFIG, config),
      layers: layers.map(({ blob, type }) => descriptor(type, blob)),
    }),
  );
  const blobs = new Map<string, Uint8Array>([
    [sha256(config), config],
    ...layers.map(({ blob }) => [sha256(blob), blob] as const),
  ]);
  return image(manifest, MANIFEST, blobs);
}

/**
 * Layers of ten bytes that each require a window of 128 MiB (RFC 8878, section 3.1.1): a header with that
 * window, and one block that repeats a zero.
 */
function zstdWindows(count: number): Hostile['serve'] {
  return imageOf(
    Array.from({ length: count }, (_, n) => {
      const size = 1024 + n * 512;
      const block = Buffer.alloc(4);
      block.writeUIntLE((size << 3) | (1 << 1) | 1, 0, 3);
      const blob = Buffer.concat([Buffer.from('28b52ffd0088', 'hex'), block]);
      return { blob, type: ZSTD_LAYER, diffId: sha256(Buffer.alloc(size)) };
    }),
  );
}

/** A gigabyte and a half of zeros in a megabyte and a half of gzip. */
function bomb(): Hostile['serve'] {
  const mebibyte = gzipSync(Buffer.alloc(1024 * 1024), { level: 9 });
  const blob = Buffer.concat(Array.from({ length: 1536 }, () => mebibyte));
  return imageOf([{ blob, type: LAYER, diffId: `sha256:${'0'.repeat(64)}` }]);
}

/** An index with the largest number of manifests, each with the largest number of layers. */
function manyBlobs(): Hostile['serve'] {
  const layersOf = (n: number): Buffer =>
    Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: MANIFEST,
        config: { mediaType: 'application/vnd.example+json', digest: digestOf(`c${n}`), size: 2 },
        layers: Array.from({ length: 1000 }, (_, m) => ({
          mediaType: LAYER,
          digest: digestOf(`${n}-${m}`),
          size: 100,
        })),
      }),
    );
  const children = Array.from({ length: 200 }, (_, n) => layersOf(n));
  const byDigest = new Map(children.map((bytes) => [String(sha256(bytes)), bytes]));
  const index = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: INDEX,
      manifests: children.map((bytes) => ({ mediaType: MANIFEST, digest: sha256(bytes), size: bytes.length })),
    }),
  );
  return ({ path }, response) => {
    const child = byDigest.get(path.split('/').at(-1) ?? '');
    if (!path.includes('/manifests/')) failed(response, 'BLOB_UNKNOWN', 'unknown');
    else if (child === undefined) send(response, 200, INDEX, index);
    else send(response, 200, MANIFEST, child);
  };
}

/** Many tags, each an artifact of the largest usual number of layers. No layer is answered within the first seconds. */
function slowLayers(tags: number): Hostile['serve'] {
  const began = Date.now();
  const empty = { mediaType: 'application/vnd.oci.empty.v1+json', digest: digestOf('{}'), size: 2 };
  const manifest = (tag: string): Buffer => {
    const layers = Array.from({ length: 1000 }, (_, n) => {
      return { mediaType: 'application/vnd.example', digest: digestOf(`${tag}-${n}`), size: 100 };
    });
    return Buffer.from(
      JSON.stringify({ schemaVersion: 2, mediaType: MANIFEST, artifactType: 'a/b', config: empty, layers }),
    );
  };
  const names = Array.from({ length: tags }, (_, n) => `t${n}`);
  const byDigest = new Map(names.map((tag) => [String(sha256(manifest(tag))), tag]));
  return async ({ path }, response) => {
    const last = path.split('/').at(-1) ?? '';
    if (path.endsWith('/tags/list')) json(response, { name: 'a/b', tags: names });
    else if (path.includes('/manifests/')) send(response, 200, MANIFEST, manifest(byDigest.get(last) ?? last));
    else if (last === empty.digest) send(response, 200, 'application/octet-stream', '{}');
    else if (path.includes('/blobs/')) {
      await setTimeout(Math.max(0, began + 12_000 - Date.now()));
      failed(response, 'BLOB_UNKNOWN', 'unknown');
    } else failed(response, 'NOT_FOUND', 'unknown');
  };
}

function digestOf(text: string): string {
  return sha256(Buffer.from(text));
}

export const HOSTILE: readonly Hostile[] = [
  {
    name: 'tag pages without end',
    // No tag is mirrored, so only the listing is attacked.
    tags: "{ include: ['wanted-*'] }",
    serve({ path, query }, response) {
      if (!path.endsWith('/tags/list')) {
        failed(response, 'MANIFEST_UNKNOWN', 'unknown');
        return;
      }
      const page = Number(query.get('last') ?? 0) + 1;
      response.setHeader('link', `</v2/a/b/tags/list?last=${page}>; rel="next"`);
      json(response, { tags: Array.from({ length: 1000 }, (_, n) => `t${page}-${n}`) });
    },
    reason: /200,?000/,
  },
  {
    name: 'empty tag pages without end',
    tags: 'all',
    serve({ query }, response) {
      const page = Number(query.get('last') ?? 0) + 1;
      response.setHeader('link', `</v2/a/b/tags/list?last=${page}>; rel="next"`);
      json(response, { tags: [] });
    },
    reason: /tags/,
  },
  { name: 'an image of 200,000 blobs', serve: manyBlobs(), reason: /8,?192 blobs/ },
  { name: 'hundreds of images of a thousand slow layers', tags: 'all', serve: slowLayers(200), reason: /unknown/ },
  {
    name: 'a manifest without end',
    serve: (_, response) => endless(response, MANIFEST, Buffer.alloc(64 * 1024, '[')),
    reason: /longer than|more than|larger than/,
  },
  {
    name: 'a manifest without end in 1-byte chunks',
    serve: (_, response) => endless(response, MANIFEST, Buffer.from('1\r\n[\r\n'.repeat(10_000)), true),
    reason: /longer than|more than|larger than/,
  },
  {
    name: 'an error without end',
    serve(_, response) {
      response.statusCode = 404;
      return endless(response, 'text/html', Buffer.alloc(64 * 1024, 'a'));
    },
    reason: /./,
  },
  {
    name: 'deep JSON',
    serve: (_, response) => {
      send(response, 200, MANIFEST, '{"a":'.repeat(600_000));
    },
    reason: /deeper/,
  },
  {
    name: 'a Retry-After of ten years',
    serve: (_, response) => {
      response.setHeader('retry-after', '315360000');
      failed(response, 'TOOMANYREQUESTS', 'slow down', 429);
    },
    reason: /429|rate/i,
  },
  {
    name: 'a Retry-After of 400 digits',
    serve: (_, response) => {
      response.setHeader('retry-after', '9'.repeat(400));
      failed(response, 'UNAVAILABLE', 'later', 503);
    },
    reason: /503/,
  },
  { name: 'windows of 128 MiB in twelve zstd layers', serve: zstdWindows(12), expected: 'mirrored' },
  { name: 'a layer that unpacks to a thousand times its size', serve: bomb(), reason: /unpack|more than/ },
  {
    name: 'redirects without end',
    serve: ({ path }, response) => {
      response.writeHead(307, { location: `${path}x`, 'content-length': 0 });
      response.end();
    },
    reason: /redirect/,
  },
  {
    name: 'a redirect to a metadata service',
    serve: (_, response) => {
      response.writeHead(307, { location: 'http://169.254.169.254/latest/meta-data/', 'content-length': 0 });
      response.end();
    },
    reason: /169\.254\.169\.254/,
  },
  {
    name: 'a token service of another owner',
    serve: (_, response, other) => {
      response.setHeader(
        'www-authenticate',
        `Bearer realm="http://${other}/token",service="s",scope="registry:catalog:*"`,
      );
      failed(response, 'UNAUTHORIZED', 'log in', 401);
    },
    reason: /./,
  },
  {
    name: 'a token of a megabyte',
    serve: ({ path, authorization }, response) => {
      if (path === '/token') json(response, { token: 'x'.repeat(900_000) });
      else {
        const host = String(response.req.headers.host);
        response.setHeader('www-authenticate', `Bearer realm="http://${host}/token",service="s"`);
        failed(response, 'UNAUTHORIZED', authorization === undefined ? 'log in' : 'no', 401);
      }
    },
    reason: /token/,
  },
  {
    name: 'control characters and our own secret in an error',
    serve: ({ authorization }, response) => {
      if (authorization === undefined) response.setHeader('www-authenticate', 'Basic realm="r"');
      const echo = `\u001b[2J\u202e\u2066\u2028\u0085 you sent ${authorization ?? ''}`;
      failed(response, `DENIED\u001b]0;x\u0007`, echo, authorization === undefined ? 401 : 403);
    },
    reason: /DENIED/,
  },
  {
    name: 'error codes that are names of functions',
    serve: (_, response) => {
      failed(response, 'constructor', 'toString');
    },
    reason: /404 constructor/,
  },
  {
    name: 'a header of 800 kB',
    serve: (_, response) => {
      response.setHeader('x-filler', 'a'.repeat(800_000));
      failed(response, 'MANIFEST_UNKNOWN', 'unknown');
    },
    reason: /./,
  },
];
