import { describe, expect, test } from 'vitest';
import type { Credentials } from '../../../lib/registry/auth/credentials.ts';
import { Endpoint } from '../../../lib/registry/endpoint.ts';
import { Targets } from '../../../lib/registry/targets.ts';
import { Tokens } from '../../../lib/registry/auth/tokens.ts';
import type { PacedWire } from '../../../lib/registry/http/paced-wire.ts';
import { digestOf } from '../../../lib/oci/digest.ts';
import { randomBytes } from '../../kit/content.ts';
import { serveHttp, type HttpServer, type Received, type Reply } from '../../kit/http-server.ts';
import { makeImage } from '../../kit/images.ts';
import { startRegistry } from '../../kit/registry.ts';
import { collect, failureOf, testSources } from './helpers.ts';
import type { HttpRequest } from '../../../lib/registry/http/message.ts';

const image = makeImage({ layers: [] });
const MANIFEST = { 'content-type': image.mediaType, 'docker-content-digest': image.digest };
const BLOB = randomBytes(1000, 1);
const BLOB_DIGEST = digestOf(BLOB);

/** A different user and password for each host. */
const perHost = (...hosts: readonly string[]): Credentials => ({
  find: (host) =>
    Promise.resolve(hosts.includes(host) ? { username: 'user', password: `of ${host}`, from: host } : undefined),
});
const basic = (host: string): string => `Basic ${Buffer.from(`user:of ${host}`).toString('base64')}`;

/** The content of any repository. */
function content({ path }: Received): Reply {
  if (path.includes('/manifests/')) return [200, MANIFEST, image.manifest];
  if (path.includes('/blobs/')) return [200, {}, BLOB];
  return path.includes('/tags/list') ? [200, {}, '{"tags":["v1"]}'] : [404];
}

/** A server that redirects every request to the same path of another. */
const redirecting = (to: HttpServer, status = 307): Promise<HttpServer> =>
  serveHttp(({ path }) => [status, { location: `http://${to.host}${path}` }]);

const authorizations = ({ requests }: HttpServer): (string | undefined)[] =>
  requests.map(({ headers }) => headers.authorization);

/** A server that requires a token of its own token service, which gives one to every client. */
async function tokenServer(): Promise<HttpServer> {
  const server: HttpServer = await serveHttp((request) => {
    const { path, headers } = request;
    if (path.startsWith('/token')) return [200, {}, '{"token":"anonymous-pull"}'];
    if (headers.authorization === 'Bearer anonymous-pull') return content(request);
    return [401, { 'www-authenticate': `Bearer realm="http://${server.host}/token",service="b"` }];
  });
  return server;
}

test('ten redirects are followed', async () => {
  await using server = await serveHttp((request) => {
    const [, count = '0'] = /[?]at=(\d+)$/.exec(request.path) ?? [];
    return Number(count) === 10 ? content(request) : [307, { location: `?at=${Number(count) + 1}` }];
  });
  await using sources = testSources();
  expect((await sources.at(server.host).manifest(image.digest)).digest).toBe(image.digest);
});

test.each<readonly [string, (path: string) => string | readonly string[]]>([
  ['the first of two Locations', (path) => [`/first${path}`, `/second${path}`]],
  ['a Location in UTF-8', (path) => Buffer.from(`/für${path}`).toString('latin1')],
  ['a Location in Latin-1', (path) => `/für${path}`],
])('%s is followed', async (_, locationFor) => {
  await using server = await serveHttp((request) => {
    const isTarget = request.path.startsWith('/first/') || request.path.startsWith('/f%C3%BCr/');
    return isTarget ? content(request) : [307, { location: locationFor(request.path) as string }];
  });
  await using sources = testSources();
  expect((await sources.at(server.host).manifest(image.digest)).digest).toBe(image.digest);
});

test.each(['/cdn/a?signed=\'x\'&y="z"', '/cdn/%2e%2e/%2E/a', '/cdn//a'])(
  'the Location %s is requested as it is written, also for the ranges of a blob',
  async (location) => {
    await using target = await serveHttp(() => [200, {}, BLOB]);
    await using registry = await serveHttp(() => [307, { location: `http://${target.host}${location}` }]);
    await using sources = testSources();
    const blob = sources.at(registry.host).blob(BLOB_DIGEST);
    for (let time = 0; time < 2; time += 1) expect(await collect(await blob.open({ start: 0 }))).toEqual(BLOB);
    expect(target.requests.map(({ path }) => path)).toEqual([location, location]);
    expect(registry.requests).toHaveLength(1);
  },
);

test('the URL of a foreign layer is requested as it is written', async () => {
  await using registry = await serveHttp(() => [200, {}, BLOB]);
  await using sources = testSources();
  const urls = [`http://${registry.host}/%2e%2e/a?signed='x'`];
  await collect(await sources.at(registry.host).blob(BLOB_DIGEST, { urls }).open({ start: 0 }));
  expect(registry.requests.map(({ path }) => path)).toEqual(["/%2e%2e/a?signed='x'"]);
});

test('a user in a Location is not sent, and the error of a denial says so', async () => {
  await using target = await serveHttp(() => [403]);
  await using registry = await serveHttp(() => [307, { location: `http://user:secret@${target.host}/a` }]);
  await using sources = testSources();
  const failure = await failureOf(sources.at(registry.host).manifest(image.digest), 'denied');
  expect(failure.detail).toBe(`${target.host} answered 403; the user in the URL of the redirect is not sent`);
  expect(authorizations(target)).toEqual([undefined]);
});

describe('the target of a redirect', () => {
  test.each([301, 302, 303, 307, 308])('gets a response to its own challenge after a %i', async (status) => {
    await using target = await tokenServer();
    await using registry = await redirecting(target, status);
    await using sources = testSources();
    const source = sources.at(registry.host);
    expect((await source.resolve('v1')).digest).toBe(image.digest);
    expect((await source.manifest(image.digest)).digest).toBe(image.digest);
    expect(await collect(await source.blob(BLOB_DIGEST).open({ start: 0 }))).toEqual(BLOB);
    expect(await Array.fromAsync(source.tags())).toEqual([['v1']]);
    expect(authorizations(registry).every((sent) => sent === undefined)).toBe(true);
    const [token] = target.requests.filter(({ path }) => path.startsWith('/token'));
    expect(token?.path).toContain('scope=repository%3Alibrary%2Falpine%3Apull');
  });

  test('is asked for a token of the repository in its own URL', async () => {
    await using target = await tokenServer();
    await using registry = await serveHttp(({ path }) => [
      307,
      { location: `http://${target.host}${path.replace('library/alpine', 'other/name')}` },
    ]);
    await using sources = testSources();
    await sources.at(registry.host).resolve('v1');
    const [token] = target.requests.filter(({ path }) => path.startsWith('/token'));
    expect(token?.path).toContain('scope=repository%3Aother%2Fname%3Apull');
  });

  test('gets its own credentials and never those of the first host', async () => {
    await using target: HttpServer = await serveHttp((request) =>
      request.headers.authorization === basic(target.host)
        ? content(request)
        : [401, { 'www-authenticate': 'Basic realm="b"' }],
    );
    await using registry: HttpServer = await serveHttp(({ path, headers }) =>
      headers.authorization === basic(registry.host)
        ? [307, { location: `http://${target.host}${path}` }]
        : [401, { 'www-authenticate': 'Basic realm="a"' }],
    );
    await using sources = testSources({ credentials: perHost(registry.host, target.host) });
    await sources.at(registry.host).manifest(image.digest);
    expect(authorizations(registry)).toEqual([undefined, basic(registry.host)]);
    expect(authorizations(target)).toEqual([undefined, basic(target.host)]);
  });

  // The first host requires a token of the target's token service before it redirects.
  test('gets its own token, although the first host requires one from the same service', async () => {
    await using target = await tokenServer();
    await using registry = await serveHttp(({ path, headers }) =>
      headers.authorization === 'Bearer anonymous-pull'
        ? [307, { location: `http://${target.host}${path}` }]
        : [401, { 'www-authenticate': `Bearer realm="http://${target.host}/token",service="b"` }],
    );
    await using sources = testSources();
    expect((await sources.at(registry.host).manifest(image.digest)).digest).toBe(image.digest);
    const content = target.requests.filter(({ path }) => !path.startsWith('/token'));
    expect(content.map(({ headers }) => headers.authorization)).toEqual([undefined, 'Bearer anonymous-pull']);
  });

  test('keeps its authorization when it is remembered for the ranges of a blob', async () => {
    await using target = await tokenServer();
    await using registry = await redirecting(target);
    await using sources = testSources();
    const blob = sources.at(registry.host).blob(BLOB_DIGEST);
    for (let time = 0; time < 3; time += 1) await collect(await blob.open({ start: 0 }));
    expect(registry.requests).toHaveLength(1);
    expect(authorizations(target).filter((sent) => sent === 'Bearer anonymous-pull')).toHaveLength(3);
  });

  test('is the reference for its own redirects: the URL of a foreign layer may lead to a host that requires a token', async () => {
    await using target = await tokenServer();
    await using foreign = await redirecting(target);
    await using registry = await startRegistry();
    registry.push('library/alpine', image, 'v1');
    await using sources = testSources();
    const urls = [`http://${foreign.host}/v2/library/alpine/blobs/${BLOB_DIGEST}`];
    const body = await sources.at(registry.host).blob(BLOB_DIGEST, { urls }).open({ start: 0 });
    expect(await collect(body)).toEqual(BLOB);
    expect(registry.count()).toBe(0);
  });

  // The other host chooses the request that is sent to the first host.
  test('does not regain the authorization of the first host by a redirect back', async () => {
    const away = { host: '' };
    await using registry: HttpServer = await serveHttp((request) => {
      if (request.path.startsWith('/back')) return content({ ...request, path: request.path });
      if (request.headers.authorization === basic(registry.host))
        return [307, { location: `http://${away.host}${request.path}` }];
      return [401, { 'www-authenticate': 'Basic realm="a"' }];
    });
    await using other = await serveHttp(({ path }) => [307, { location: `http://${registry.host}/back${path}` }]);
    away.host = other.host;
    await using sources = testSources({ credentials: perHost(registry.host) });
    await sources.at(registry.host).manifest(image.digest);
    expect(registry.requests.map(({ path, headers }) => [path.startsWith('/back'), headers.authorization])).toEqual([
      [false, undefined],
      [false, basic(registry.host)],
      [true, undefined],
    ]);
    expect(authorizations(other)).toEqual([undefined]);
  });
});

/** An address of this machine that does not count as loopback, so it may not lead to this machine. */
const elsewhere = (port: number): string => `0.0.0.0:${port}`;

describe('an address within this machine or network', () => {
  const OFF_LIMITS = [
    'http://127.0.0.1:9/x',
    'http://[::ffff:0:0]:9/x',
    'http://169.254.169.254/latest/',
    'http://m.localhost/',
  ];

  test.each(OFF_LIMITS)('is not asked if a redirect names it: %s', async (location) => {
    await using server = await serveHttp(() => [307, { location }]);
    const host = elsewhere(server.port);
    await using sources = testSources({ insecure: [host] });
    const failure = await failureOf(sources.at(host).manifest(image.digest), 'denied');
    expect(failure.detail).toContain(`${host} refers to ${new URL(location).host}, an address of this machine`);
    expect(server.requests).toHaveLength(1);
  });

  test.each(OFF_LIMITS)('is not asked if a foreign layer names it: %s', async (url) => {
    await using server = await serveHttp(() => [404, {}, '{"errors":[{"code":"BLOB_UNKNOWN"}]}']);
    const host = elsewhere(server.port);
    // It is allowed as a host of foreign layers, but not as an address.
    await using sources = testSources({ insecure: [host], foreignHosts: [new URL(url).hostname] });
    const blob = sources.at(host).blob(BLOB_DIGEST, { urls: [url] });
    const failure = await failureOf(blob.open({ start: 0 }), 'denied');
    expect(failure.detail).toContain('an address of this machine or a private network');
    expect(server.requests.map(({ path }) => path)).toEqual([`/v2/library/alpine/blobs/${BLOB_DIGEST}`, '/v2/']);
  });

  test.each(OFF_LIMITS)('is not asked if a challenge names it as a token service: %s', async (realm) => {
    await using server = await serveHttp(() => [401, { 'www-authenticate': `Bearer realm="${realm}"` }]);
    const host = elsewhere(server.port);
    await using sources = testSources({ insecure: [host] });
    const failure = await failureOf(sources.at(host).manifest(image.digest), 'denied');
    expect(failure.detail).toContain(`${host} refers to ${new URL(realm).host}, an address of this machine`);
    expect(server.requests).toHaveLength(1);
  });

  test('gets no request if it is a metadata service, even from a registry on loopback', async () => {
    await using server = await serveHttp(() => [307, { location: 'http://[::ffff:a9fe:a9fe]/' }]);
    await using sources = testSources();
    await failureOf(sources.at(server.host).manifest(image.digest), 'denied');
  });
});

test.each(['//evil.test/v2/a/b/tags/list?last=z', '/\\evil.test/v2/', 'https://evil.test/v2/', '\\\\evil.test/'])(
  'the path %s is not requested, because it leads to another host',
  async (path) => {
    const sent: string[] = [];
    const wire = { send: ({ url }: HttpRequest) => Promise.reject(new Error(String(sent.push(url.href)))) };
    const options = { wire: wire as unknown as PacedWire, credentials: perHost('reg.test'), isInsecure: () => false };
    const rules = { isInsecure: () => false, tokenService: () => undefined };
    const tokens = new Tokens({ send: () => Promise.reject(new Error('no token')), now: () => 0, rules });
    const targets = new Targets({ ...options, tokens });
    const endpoint = new Endpoint({ ...options, tokens, targets, name: 'reg.test' });
    const operation = 'list tags of reg.test/a/b';
    const ask = { operation, repository: 'a/b', subject: 'tags', method: 'GET', path } as const;
    const failure = await failureOf(endpoint.send(ask), 'invalid');
    expect(failure.detail).toBe('the path leads to another host, evil.test');
    expect(sent).toEqual([]);
  },
);

describe('a token service that redirects', () => {
  /** A registry that requires a token from a realm, and serves content to clients with the token `t`. */
  const registryFor = (realm: () => string): Promise<HttpServer> =>
    serveHttp((request) =>
      request.headers.authorization === 'Bearer t'
        ? content(request)
        : [401, { 'www-authenticate': `Bearer realm="${realm()}",service="s"` }],
    );
  const TOKEN: Reply = [200, {}, '{"access_token":"t","expires_in":300}'];
  const IDENTITY: Credentials = {
    find: () => Promise.resolve({ username: '<token>', identityToken: 'refresh', from: 'f' }),
  };

  test.each([301, 302, 303, 307, 308])(
    'with a %i is followed, with its credentials on the same host',
    async (status) => {
      await using second = await serveHttp(() => TOKEN);
      await using first = await serveHttp(({ path }) => [
        status,
        { location: `http://${second.host}${path.replace('/token', '/token/')}` },
      ]);
      await using registry = await registryFor(() => `http://${first.host}/token`);
      await using sources = testSources({ credentials: perHost(registry.host) });
      expect((await sources.at(registry.host).manifest(image.digest)).digest).toBe(image.digest);
      expect(authorizations(second)).toEqual([basic(registry.host)]);
      expect(second.requests[0]?.path).toMatch(/^\/token\/\?service=s&scope=/);
    },
  );

  test('to another host gets no credentials there', async () => {
    await using second = await serveHttp(() => TOKEN);
    await using first = await serveHttp(({ path }) => [307, { location: `http://localhost:${second.port}${path}` }]);
    await using registry = await registryFor(() => `http://${first.host}/token`);
    await using sources = testSources({ credentials: perHost(registry.host) });
    await sources.at(registry.host).manifest(image.digest);
    expect(authorizations(first)).toEqual([basic(registry.host)]);
    expect(authorizations(second)).toEqual([undefined]);
  });

  test.each([307, 308])('with a %i gets the form of a POST again on the same host', async (status) => {
    await using second = await serveHttp(() => TOKEN);
    await using first = await serveHttp(() => [status, { location: `http://${second.host}/other` }]);
    await using registry = await registryFor(() => `http://${first.host}/token`);
    await using sources = testSources({ credentials: IDENTITY });
    await sources.at(registry.host).manifest(image.digest);
    expect(second.requests).toMatchObject([{ method: 'POST', path: '/other' }]);
    expect(second.requests[0]?.body).toContain('refresh_token=refresh');
  });

  test('does not get the form of a POST on another host', async () => {
    await using second = await serveHttp(() => TOKEN);
    await using first = await serveHttp(() => [307, { location: `http://localhost:${second.port}/other` }]);
    await using registry = await registryFor(() => `http://${first.host}/token`);
    await using sources = testSources({ credentials: IDENTITY });
    const failure = await failureOf(sources.at(registry.host).manifest(image.digest), 'denied');
    expect(failure.detail).toBe(
      `${first.host} redirected to another host, localhost:${second.port}, which does not receive the credentials`,
    );
    expect(second.requests).toEqual([]);
  });

  test('with a 303 gets a GET without the form', async () => {
    await using second = await serveHttp(() => TOKEN);
    await using first = await serveHttp(() => [303, { location: `http://localhost:${second.port}/other` }]);
    await using registry = await registryFor(() => `http://${first.host}/token`);
    await using sources = testSources({ credentials: IDENTITY });
    await sources.at(registry.host).manifest(image.digest);
    expect(second.requests).toMatchObject([{ method: 'GET', body: '' }]);
  });
});

test('a redirect from TLS to plain HTTP is refused, and the error names the setting that allows it', async () => {
  await using registry = await serveHttp(() => [307, { location: 'http://cdn.mirror-sync.test/x' }], { tls: true });
  await using sources = testSources();
  const failure = await failureOf(sources.at(registry.host).manifest(image.digest), 'invalid');
  expect(failure.detail).toBe(
    `${registry.host} redirected from TLS to plain HTTP at cdn.mirror-sync.test; to allow it, use --insecure-registry cdn.mirror-sync.test`,
  );
});

test('every request has a User-Agent and accepts only the identity coding', async () => {
  await using target = await tokenServer();
  await using registry = await redirecting(target);
  await using sources = testSources();
  const source = sources.at(registry.host);
  await source.resolve('v1');
  await source.manifest(image.digest);
  await collect(await source.blob(BLOB_DIGEST).open({ start: 0 }));
  await Array.fromAsync(source.tags());
  const all = [...registry.requests, ...target.requests];
  expect(new Set(all.map(({ headers }) => headers['accept-encoding']))).toEqual(new Set(['identity']));
  for (const { headers } of all) expect(headers['user-agent']).toMatch(/^mirror-sync\/\d+\.\d+\.\d+ \(\+https:/);
  const kinds = ['/manifests/', '/blobs/', '/tags/', '/token'];
  expect(kinds.every((kind) => target.requests.some(({ path }) => path.includes(kind)))).toBe(true);
});
