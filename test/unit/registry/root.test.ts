/** Registries that send their challenge only at `/v2/`, where Docker always begins. */
import { describe, expect, test } from 'vitest';
import type { Credentials } from '../../../lib/registry/auth/credentials.ts';
import { type HttpServer, type Received, type Reply, serveHttp } from '../../kit/http-server.ts';
import { makeImage } from '../../kit/images.ts';
import { failureOf, manifestAt, NOT_FOUND, testSources } from './helpers.ts';

const image = makeImage({ layers: [] });
const basicOf = (user: string): string => `Basic ${Buffer.from(`${user}:secret`).toString('base64')}`;
const BASIC = basicOf('bob');
const BOB: Credentials = { find: () => Promise.resolve({ username: 'bob', password: 'secret', from: 'auth.json' }) };
const ROOT_BASIC: Reply = [401, { 'www-authenticate': 'Basic realm="registry"' }];

const content = ({ path }: Received): Reply => manifestAt(path, image);

/** A registry that serves content only with this authorization, and sends a challenge only at `/v2/`. */
function guarded(authorization: string, refusal: Reply, root: (request: Received) => Reply | Promise<Reply>) {
  return serveHttp((request) => {
    if (request.path === '/v2/') return root(request);
    if (request.path.startsWith('/token')) return [200, {}, '{"token":"anonymous"}'];
    return request.headers.authorization === authorization ? content(request) : refusal;
  });
}

const bearer = ({ headers }: Received): Reply => [
  401,
  { 'www-authenticate': `Bearer realm="http://${headers.host ?? ''}/token",service="s"` },
];

const sent = (server: HttpServer): (readonly [string, string | undefined])[] =>
  server.requests.map(({ path, headers }) => [path.replace(/\/manifests\/.*|\?.*/, ''), headers.authorization]);

const LOGIN_PAGE: Reply = [200, { 'content-type': 'text/html; charset=utf-8' }, '<html>log in</html>'];

describe('a registry where only /v2/ sends a challenge', () => {
  test.each<readonly [string, Reply]>([
    ['400', [400, {}, '{}']],
    ['401', [401, {}, '{}']],
    ['401 and an empty challenge', [401, { 'www-authenticate': '' }, '{}']],
    ['401 and a challenge that cannot be answered', [401, { 'www-authenticate': 'Negotiate' }, '{}']],
    ['403', [403, {}, '{}']],
    ['404', [404, {}, '{}']],
    ['a login page', LOGIN_PAGE],
  ])('is asked again with credentials after it refuses content with %s', async (_, refusal) => {
    await using server = await guarded(BASIC, refusal, () => ROOT_BASIC);
    await using sources = testSources({ credentials: BOB });
    const source = sources.at(server.host, 'team/app');
    expect((await source.manifest(image.digest)).digest).toBe(image.digest);
    await source.manifest(image.digest);
    expect(sent(server)).toEqual([
      ['/v2/team/app', undefined],
      ['/v2/', undefined],
      ['/v2/team/app', BASIC],
      ['/v2/team/app', BASIC],
    ]);
  });

  test.each([401, 403, 404])(
    'is asked again with an anonymous token after it refuses content with %i',
    async (status) => {
      await using server = await guarded('Bearer anonymous', [status, {}, '{}'], bearer);
      await using sources = testSources();
      expect((await sources.at(server.host, 'team/app').manifest(image.digest)).digest).toBe(image.digest);
      expect(sent(server)).toEqual([
        ['/v2/team/app', undefined],
        ['/v2/', undefined],
        ['/token', undefined],
        ['/v2/team/app', 'Bearer anonymous'],
      ]);
    },
  );

  test('is asked again with credentials after it redirects content to a login page', async () => {
    await using server = await serveHttp((request) => {
      if (request.path === '/v2/') return ROOT_BASIC;
      if (request.path === '/login') return LOGIN_PAGE;
      return request.headers.authorization === BASIC ? content(request) : [302, { location: '/login' }];
    });
    await using sources = testSources({ credentials: BOB });
    expect((await sources.at(server.host).resolve('1')).digest).toBe(image.digest);
    const paths = server.requests.map(({ path }) => path);
    expect(paths).toEqual(['/v2/library/alpine/manifests/1', '/login', '/v2/', '/v2/library/alpine/manifests/1']);
  });

  test('is asked for /v2/ once for concurrent requests, which all wait for its reply', async () => {
    const COUNT = 5;
    const refused = Promise.withResolvers<undefined>();
    let asked = 0;
    await using server = await serveHttp(async (request) => {
      if (request.path === '/v2/') await refused.promise;
      if (request.path === '/v2/') return ROOT_BASIC;
      asked += 1;
      if (asked === COUNT) refused.resolve(undefined);
      return request.headers.authorization === BASIC ? content(request) : NOT_FOUND;
    });
    await using sources = testSources({ credentials: BOB });
    const source = sources.at(server.host);
    const found = await Promise.all(Array.from({ length: COUNT }, (_, tag) => source.resolve(`${tag}`)));
    expect(found.map(({ digest }) => digest)).toEqual(Array.from({ length: COUNT }, () => image.digest));
    expect(server.requests.filter(({ path }) => path === '/v2/')).toHaveLength(1);
  });

  test('gets the credentials of each repository for that repository only', async () => {
    const credentials: Credentials = {
      find: (_, path) => Promise.resolve({ username: path, password: 'secret', from: 'auth.json' }),
    };
    await using server = await serveHttp((request) => {
      if (request.path === '/v2/') return ROOT_BASIC;
      const [, repository = ''] = /^\/v2\/(.*)\/manifests\//.exec(request.path) ?? [];
      return request.headers.authorization === basicOf(repository) ? content(request) : NOT_FOUND;
    });
    await using sources = testSources({ credentials });
    const both = ['team/a', 'team/b'].map((path) => sources.at(server.host, path));
    for (const { digest } of await Promise.all(both.map((source) => source.manifest(image.digest))))
      expect(digest).toBe(image.digest);
    const foreign = server.requests.filter(
      ({ path, headers }) => path.includes('team/a') && headers.authorization === basicOf('team/b'),
    );
    expect(foreign).toEqual([]);
  });

  test.each([500, 503, 408])('is asked for /v2/ again if that answered %i', async (status) => {
    let count = 0;
    await using server = await guarded(BASIC, NOT_FOUND, () => (count++ === 0 ? [status] : ROOT_BASIC));
    await using sources = testSources({ credentials: BOB });
    expect((await sources.at(server.host).manifest(image.digest)).digest).toBe(image.digest);
    expect(count).toBe(2);
  });

  test('decides itself that content is missing after /v2/ has failed three times', async () => {
    await using server = await guarded(BASIC, NOT_FOUND, () => [500]);
    await using sources = testSources({ credentials: BOB });
    const source = sources.at(server.host);
    for (let time = 0; time < 2; time += 1) await failureOf(source.manifest(image.digest), 'manifest-unknown');
    expect(server.requests.filter(({ path }) => path === '/v2/')).toHaveLength(4);
  });

  test('gets a new token after it has revoked one without a challenge', async () => {
    let tokens = 0;
    await using server = await serveHttp((request) => {
      if (request.path === '/v2/') return bearer(request);
      if (request.path.startsWith('/token')) return [200, {}, `{"token":"t${(tokens += 1)}"}`];
      return request.headers.authorization === `Bearer t${tokens}` ? content(request) : [401];
    });
    await using sources = testSources();
    const source = sources.at(server.host);
    await source.manifest(image.digest);
    tokens += 1;
    expect((await source.manifest(image.digest)).digest).toBe(image.digest);
    expect(tokens).toBe(3);
  });
});

describe('a registry that serves content without a challenge', () => {
  test('is asked for /v2/ once for missing content', async () => {
    await using server = await guarded('', NOT_FOUND, () => [200]);
    await using sources = testSources();
    const source = sources.at(server.host);
    for (let time = 0; time < 3; time += 1) await failureOf(source.manifest(image.digest), 'manifest-unknown');
    expect(server.requests.filter(({ path }) => path === '/v2/')).toHaveLength(1);
  });

  test('is asked without a token from then on after it has refused that of /v2/', async () => {
    await using server = await serveHttp((request) => {
      if (request.path === '/v2/') return bearer(request);
      if (request.path.startsWith('/token')) return [200, {}, '{"token":"bad"}'];
      if (request.headers.authorization !== undefined) return [403];
      return request.path.endsWith('/missing') ? NOT_FOUND : content(request);
    });
    await using sources = testSources();
    const source = sources.at(server.host);
    for (let time = 0; time < 2; time += 1) await failureOf(source.fetchTag('missing'), 'manifest-unknown');
    expect((await source.fetchTag('1')).digest).toBe(image.digest);
    expect(sent(server).filter(([, authorization]) => authorization !== undefined)).toHaveLength(1);
  });

  test('reports missing content although it names a token service that refuses anonymous access', async () => {
    await using server = await serveHttp((request) => {
      if (request.path === '/v2/') return bearer(request);
      return request.path.startsWith('/token') ? [403] : NOT_FOUND;
    });
    await using sources = testSources();
    await failureOf(sources.at(server.host).manifest(image.digest), 'manifest-unknown');
  });

  // Each of these statuses has another meaning than missing credentials.
  test.each([408, 416, 429, 500, 503])('is not asked for /v2/ after a %i', async (status) => {
    await using server = await guarded('', [status, {}, '{}'], () => ROOT_BASIC);
    await using sources = testSources({ credentials: BOB });
    await failureOf(sources.at(server.host).manifest(image.digest));
    expect(server.requests.map(({ path }) => path)).not.toContain('/v2/');
  });

  test('is not reported as having received credentials that were not sent', async () => {
    await using server = await serveHttp(() => [403, {}, '{}']);
    await using sources = testSources({ credentials: BOB });
    const failure = await failureOf(sources.at(server.host).manifest(image.digest), 'denied');
    expect(failure.message).not.toContain('with the credentials');
    expect(server.requests.map(({ headers }) => headers.authorization)).toEqual([undefined, undefined]);
  });
});

test('the request for /v2/ never has the authorization of another host', async () => {
  await using login = await serveHttp(() => LOGIN_PAGE);
  await using server = await serveHttp((request) => {
    if (request.path === '/v2/') return ROOT_BASIC;
    if (request.headers.authorization === basicOf(request.headers.host ?? '')) return content(request);
    return [302, { location: `http://${login.host}/login` }];
  });
  const credentials: Credentials = {
    find: (host) => Promise.resolve({ username: host, password: 'secret', from: 'auth.json' }),
  };
  await using sources = testSources({ credentials });
  expect((await sources.at(server.host).manifest(image.digest)).digest).toBe(image.digest);
  expect(sent(server).filter(([path]) => path === '/v2/')).toEqual([['/v2/', undefined]]);
  expect(sent(login)).toEqual([['/login', undefined]]);
});
