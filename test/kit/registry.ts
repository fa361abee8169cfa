import { once } from 'node:events';
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import type { Digest } from '../../lib/oci/digest.ts';
import { type Answer, json, send } from './answer.ts';
import { type Auth, guard } from './auth.ts';
import { type Content, contentOf } from './content.ts';
import type { Pushable } from './images.ts';
import {
  errorBody,
  type Match,
  type Misbehaving,
  type RequestKind,
  type Rule,
  Rules,
  type Spoiling,
} from './misbehave.ts';
import { documentOf, type Repository, route, type Target } from './routes.ts';
import { TLS } from './tls.ts';

export { errorBody } from './misbehave.ts';

export interface RegistryOptions {
  /** Speaks TLS, with the certificate of `tls.ts`. */
  readonly tls?: boolean;
  readonly auth?: Auth;
  /** 405 for HEAD of manifests. */
  readonly refuseHead?: boolean;
  /** No Docker-Content-Digest in the response to HEAD of manifests, as with some old registries and proxies. */
  readonly headWithoutDigest?: boolean;
  /** The most tags per page for any `n` (Quay: 100, GHCR: 1000). */
  readonly pageSize?: number;
  /** Whether it has the referrers API of distribution spec 1.1; true by default. */
  readonly referrers?: boolean;
  /** The most referrers per page; by default, all are in one. */
  readonly referrersPageSize?: number;
}

/** One request, with the status of its response (0: none). */
export interface RequestRecord {
  readonly method: string;
  readonly kind: RequestKind;
  /** With its query. */
  readonly path: string;
  readonly repository: string | undefined;
  readonly digest: string | undefined;
  readonly tag: string | undefined;
  readonly range: string | undefined;
  readonly ranged: boolean;
  readonly authorization: string | undefined;
  status: number;
  /** Bytes of the body that were passed to the socket. */
  bytes: number;
}

export interface TestRegistry extends AsyncDisposable {
  /** `127.0.0.1:PORT` */
  readonly host: string;
  readonly port: number;
  /** At least the latest 100,000 requests, in order. */
  readonly requests: readonly RequestRecord[];
  /** The number of matching requests. */
  count(filter?: Match & { readonly status?: number }): number;
  /** Forgets the requests so far. */
  forgetRequests(): void;
  /** The largest number of requests that were answered concurrently. */
  readonly mostAtOnce: number;

  /** An image, index or artifact with everything below it. */
  push(repository: string, image: Pushable, tag?: string): Digest;
  /** Bytes under a digest, which is not checked, as in a registry with corrupt storage. */
  pushBlob(digest: Digest, content: Uint8Array | Content): void;
  tag(repository: string, tag: string, digest: Digest): void;
  untag(repository: string, tag: string): void;
  removeBlob(digest: Digest): void;
  removeManifest(repository: string, digest: Digest): void;

  misbehave(rule: Rule): Misbehaving;
  /** An address on this host for content of another one: it refuses an Authorization, and answers `uses` requests. */
  sign(content: Content, of: Target, uses: number): string;
  /** Cuts every connection, and frees all resources. */
  close(): Promise<void>;
}

const REQUESTS_KEPT = 100_000;

/** The content of a signed address, and the number of remaining requests. */
interface Signed {
  readonly content: Content;
  readonly of: Target;
  left: number;
}

function xml(status: number, code: string, message: string): Answer {
  const document = `<?xml version="1.0"?><Error><Code>${code}</Code><Message>${message}</Message></Error>`;
  return { status, headers: { 'content-type': 'application/xml' }, body: contentOf(Buffer.from(document)) };
}

/** A registry on a real socket for pulls (OCI distribution spec 1.1), which misbehaves on request. */
export async function startRegistry(options: RegistryOptions = {}): Promise<TestRegistry> {
  const repositories = new Map<string, Repository>();
  const blobs = new Map<string, Content>();
  const signed = new Map<string, Signed>();
  const rules = new Rules();
  const requests: RequestRecord[] = [];
  let atOnce = 0;
  let mostAtOnce = 0;

  const listener: RequestListener = (request, response) => {
    mostAtOnce = Math.max(mostAtOnce, (atOnce += 1));
    serve(request, response)
      .catch((error: unknown) => response.destroy(error as Error))
      .finally(() => (atOnce -= 1));
  };
  const server = options.tls === true ? createTlsServer(TLS, listener) : createServer(listener);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const host = `127.0.0.1:${port}`;
  const doorkeeper = guard(options.auth, host);

  const repository = (path: string): Repository => {
    const found = repositories.get(path) ?? { manifests: new Map(), tags: new Map() };
    repositories.set(path, found);
    return found;
  };

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', `http://${host}`);
    const method = request.method ?? 'GET';
    const { authorization, range } = request.headers;
    const borrowed = signed.get(url.pathname + url.search);
    const target = borrowed?.of ?? route(url.pathname);
    const ranged = range !== undefined;
    const record: RequestRecord = {
      ...{ method, kind: target.kind, path: url.pathname + url.search, range, ranged, authorization },
      ...{ status: 0, bytes: 0 },
      ...{ repository: target.repository, digest: target.digest, tag: target.tag },
    };
    requests.push(record);
    if (requests.length >= 2 * REQUESTS_KEPT) requests.splice(0, REQUESTS_KEPT);
    const spoiling = rules.for({ method, ranged, ...target });
    const form = method === 'POST' ? new URLSearchParams(await text(request)) : new URLSearchParams();
    if (spoiling?.hangUp === true) {
      request.socket.destroy();
      return;
    }
    if (spoiling?.noAnswer === true) await Promise.race([spoiling.stall.released, once(response, 'close')]);
    const right = rightAnswer(method, target, request, url, form, borrowed);
    await send(request, response, redirected(right, target, spoiling), spoiling, record);
  }

  function rightAnswer(
    method: string,
    target: Target,
    request: IncomingMessage,
    url: URL,
    form: URLSearchParams,
    borrowed: Signed | undefined,
  ): Answer {
    const { authorization } = request.headers;
    if (borrowed !== undefined) return signedAnswer(borrowed, authorization);
    const asking = { method, url, authorization, repository: target.repository };
    if (target.kind === 'token') return doorkeeper.token(asking, form);
    return doorkeeper.check(asking) ?? answer(method, target, request, url);
  }

  function redirected(right: Answer, target: Target, spoiling: Spoiling | undefined): Answer {
    const cdn = spoiling?.redirectTo;
    if (cdn === undefined || right.status !== 200 || right.body === undefined) return right;
    return { status: 307, headers: { location: cdn.sign(right.body, target, spoiling?.expires ?? Infinity) } };
  }

  function signedAnswer(borrowed: Signed, authorization: string | undefined): Answer {
    // S3 refuses a signed address that comes with an Authorization header ("Only one auth mechanism allowed").
    if (authorization !== undefined) return xml(400, 'InvalidArgument', 'Only one auth mechanism allowed');
    if (borrowed.left <= 0) return xml(403, 'AccessDenied', 'Request has expired');
    borrowed.left -= 1;
    return {
      status: 200,
      headers: { 'content-type': 'application/octet-stream' },
      body: borrowed.content,
      etag: `"cdn-${borrowed.of.digest ?? ''}"`,
    };
  }

  function answer(method: string, target: Target, request: IncomingMessage, url: URL): Answer {
    if (target.kind === 'ping') return json(200, {}, { 'docker-distribution-api-version': 'registry/2.0' });
    if (target.kind === 'other' || target.repository === undefined)
      return json(404, errorBody('NOT_FOUND', 'no such page'));
    if (method !== 'GET' && method !== 'HEAD') return json(405, errorBody('UNSUPPORTED', 'this registry is read-only'));
    const known = repositories.get(target.repository);
    if (known === undefined) return json(404, errorBody('NAME_UNKNOWN', 'repository name not known to registry'));
    if (target.kind === 'manifest') return manifestAnswer(method, target, known, request.headers.accept);
    if (target.kind === 'blob') return blobAnswer(target.digest ?? '');
    if (target.kind === 'tags') return tagsAnswer(target.repository, known, url.searchParams);
    return referrersAnswer(target.digest ?? '', known, url);
  }

  function manifestAnswer(method: string, target: Target, known: Repository, accept: string | undefined): Answer {
    if (method === 'HEAD' && options.refuseHead === true) return json(405, errorBody('UNSUPPORTED', 'no HEAD here'));
    const digest = target.digest ?? known.tags.get(target.tag ?? '') ?? '';
    const manifest = known.manifests.get(digest);
    if (manifest === undefined)
      return json(404, errorBody('MANIFEST_UNKNOWN', 'manifest unknown', { name: target.repository, ...target }));
    // The distribution registry serves only types that the client accepts.
    const accepted = (accept ?? '').split(',').map((type) => type.split(';', 1)[0]?.trim());
    if (!accepted.some((type) => type === manifest.mediaType || type === '*/*'))
      return json(
        404,
        errorBody('MANIFEST_UNKNOWN', `${manifest.mediaType} found, but the Accept header does not allow it`),
      );
    const silent = method === 'HEAD' && options.headWithoutDigest === true;
    return {
      status: 200,
      headers: { 'content-type': manifest.mediaType, ...(silent ? {} : { 'docker-content-digest': digest }) },
      body: contentOf(manifest.bytes),
      ...(silent ? {} : { etag: `"${digest}"` }),
    };
  }

  function blobAnswer(digest: string): Answer {
    const body = blobs.get(digest);
    if (body === undefined) return json(404, errorBody('BLOB_UNKNOWN', 'blob unknown to registry', { digest }));
    const headers = { 'content-type': 'application/octet-stream', 'docker-content-digest': digest };
    return { status: 200, headers, body, etag: `"${digest}"` };
  }

  /** Distribution spec, "Listing Tags": in lexical order, after `last`, at most `n`. */
  function tagsAnswer(name: string, known: Repository, query: URLSearchParams): Answer {
    const last = query.get('last') ?? '';
    const n = Math.min(options.pageSize ?? Infinity, Number(query.get('n') ?? Infinity));
    const rest = [...known.tags.keys()].sort().filter((tag) => tag > last);
    const tags = rest.slice(0, n);
    const next = tags.length < rest.length ? tags.at(-1) : undefined;
    const link = `</v2/${name}/tags/list?last=${encodeURIComponent(next ?? '')}&n=${n}>; rel="next"`;
    return json(200, { name, tags }, next === undefined ? {} : { link });
  }

  /** Distribution spec 1.1, "Listing Referrers". */
  function referrersAnswer(digest: string, known: Repository, { pathname, searchParams: query }: URL): Answer {
    if (options.referrers === false) return json(404, errorBody('NOT_FOUND', 'no such page'));
    const artifactType = query.get('artifactType');
    const all = [...known.manifests].flatMap(([own, { bytes, mediaType, document }]) => {
      if (document.subject?.digest !== digest) return [];
      const type = document.artifactType ?? document.config?.mediaType;
      return [{ mediaType, digest: own, size: bytes.length, artifactType: type, annotations: document.annotations }];
    });
    const wanted = all.filter((descriptor) => artifactType === null || descriptor.artifactType === artifactType);
    const from = Number(query.get('from') ?? 0);
    const end = from + (options.referrersPageSize ?? Infinity);
    const manifests = wanted.slice(from, end);
    query.set('from', String(end));
    const link = end < wanted.length ? { link: `<${pathname}?${query.toString()}>; rel="next"` } : {};
    const mediaType = 'application/vnd.oci.image.index.v1+json';
    const filtered: Record<string, string> = artifactType === null ? {} : { 'oci-filters-applied': 'artifactType' };
    return json(200, { schemaVersion: 2, mediaType, manifests }, { 'content-type': mediaType, ...filtered, ...link });
  }

  const registry: TestRegistry = {
    host,
    port,
    requests,
    count: (filter = {}) =>
      requests.filter((record) =>
        (Object.keys(filter) as (keyof typeof filter)[]).every((key) => record[key] === filter[key]),
      ).length,
    forgetRequests: () => {
      requests.length = 0;
      mostAtOnce = atOnce;
    },
    get mostAtOnce() {
      return mostAtOnce;
    },
    push: (path, image, tag) => {
      for (const child of image.children) registry.push(path, child);
      for (const [digest, bytes] of image.blobs) registry.pushBlob(digest, bytes);
      for (const [digest, content] of image.generated) registry.pushBlob(digest, content);
      const { manifest: bytes, mediaType } = image;
      repository(path).manifests.set(image.digest, { bytes, mediaType, document: documentOf(bytes) });
      if (tag !== undefined) registry.tag(path, tag, image.digest);
      return image.digest;
    },
    pushBlob: (digest, content) => void blobs.set(digest, content instanceof Uint8Array ? contentOf(content) : content),
    tag: (path, tag, digest) => void repository(path).tags.set(tag, digest),
    untag: (path, tag) => void repository(path).tags.delete(tag),
    removeBlob: (digest) => void blobs.delete(digest),
    removeManifest: (path, digest) => void repository(path).manifests.delete(digest),
    misbehave: (rule) => rules.add(rule),
    sign: (content, of, uses) => {
      const path = `/cdn/${of.digest ?? 'object'}?X-Amz-Signature=${signed.size + 1}`;
      signed.set(path, { content, of, left: uses });
      return `http://${host}${path}`;
    },
    close: async () => {
      if (!server.listening) return;
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
    [Symbol.asyncDispose]: () => registry.close(),
  };
  return registry;
}
