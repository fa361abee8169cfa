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

const bearer = ({ headers }: Received, status = 401): Reply => [
  status,
  { 'www-authenticate': `Bearer realm="http://${headers.host ?? ''}/token",service="s"` },
  '{"errors":[{"code":"MANIFEST_UNKNOWN"}]}',
];

const sent = (server: HttpServer): (readonly [string, string | undefined])[] =>
  server.requests.map(({ path, headers }) => [path.replace(/\/manifests\/.*|\?.*/, ''), headers.authorization]);

const LOGIN_PAGE: Reply = [200, { 'content-type': 'text/html; charset=utf-8' }, '<html>log in</html>'];

const REFUSALS: readonly (readonly [string, Reply])[] = [
  ['400', [400, {}, '{}']],
  ['401', [401, {}, '{}']],
  ['401 and an empty challenge', [401, { 'www-authenticate': '' }, '{}']],
  ['401 and a challenge that cannot be answered', [401, { 'www-authenticate': 'Negotiate' }, '{}']],
  ['403', [403, {}, '{}']],
  ['403 and a challenge that no login answers', [403, { 'www-authenticate': 'Basic realm="r"' }, '{}']],
  ['404', [404, {}, '{}']],
  ['a login page', LOGIN_PAGE],
];

describe('a registry for which there is a login', () => {
  test.each([
    ...REFUSALS,
    ['a part of the content', [200, {}, '{"tags":null}'] as Reply],
    ['an error with a status of success', [200, { 'content-type': 'application/json' }, '{"errors":[]}'] as Reply],
    ['a redirect to itself', [302, { location: '?' }] as Reply],
    ['500', [500] as Reply],
  ] as const)('gets it from the start, although it would answer with %s', async (_, refusal) => {
    await using server = await guarded(BASIC, refusal, () => ROOT_BASIC);
    await using sources = testSources({ credentials: BOB });
    const source = sources.at(server.host, 'team/app');
    expect((await source.manifest(image.digest)).digest).toBe(image.digest);
    await source.manifest(image.digest);
    await sources.at(server.host, 'team/other').manifest(image.digest);
    expect(sent(server)).toEqual([
      ['/v2/', undefined],
      ['/v2/team/app', BASIC],
      ['/v2/team/app', BASIC],
      ['/v2/team/other', BASIC],
    ]);
  });

  test('is asked for /v2/ and for a token once for concurrent requests', async () => {
    await using server = await serveHttp((request) => {
      if (request.path === '/v2/') return bearer(request);
      if (request.path.startsWith('/token')) return [200, {}, '{"token":"t"}'];
      return request.headers.authorization === 'Bearer t' ? content(request) : NOT_FOUND;
    });
    await using sources = testSources({ credentials: BOB });
    const source = sources.at(server.host);
    const found = await Promise.all(['1', '2', '3', '4', '5'].map((tag) => source.resolve(tag)));
    expect(found.map(({ digest }) => digest)).toEqual(found.map(() => image.digest));
    expect(sent(server).slice(0, 2)).toEqual([
      ['/v2/', undefined],
      ['/token', BASIC],
    ]);
    expect(server.requests).toHaveLength(7);
  });

  test.each<readonly [string, Reply]>([
    ['that needs none', [200]],
    ['that lacks /v2/', [404]],
    ['where /v2/ fails', [500]],
    ['where /v2/ is limited', [429, { 'retry-after': '0' }]],
    ['where /v2/ leads nowhere', [302, { location: 'file:///etc/passwd' }]],
  ])('is asked for /v2/ once before its content, if it is one %s', async (_, root) => {
    await using server = await serveHttp((request) => (request.path === '/v2/' ? root : content(request)));
    await using sources = testSources({ credentials: BOB });
    for (const path of ['team/app', 'team/other'])
      expect((await sources.at(server.host, path).manifest(image.digest)).digest).toBe(image.digest);
    expect(sent(server)).toEqual([
      ['/v2/', undefined],
      ['/v2/team/app', undefined],
      ['/v2/team/other', undefined],
    ]);
  });

  test('is asked for its content without the login if it refuses the login', async () => {
    await using server = await serveHttp((request) => {
      if (request.path === '/v2/') return ROOT_BASIC;
      return request.headers.authorization === undefined ? content(request) : ROOT_BASIC;
    });
    await using sources = testSources({ credentials: BOB });
    const source = sources.at(server.host, 'team/app');
    for (let time = 0; time < 2; time += 1) expect((await source.manifest(image.digest)).digest).toBe(image.digest);
    expect(sent(server)).toEqual([
      ['/v2/', undefined],
      ['/v2/team/app', BASIC],
      ['/v2/team/app', undefined],
      ['/v2/team/app', undefined],
    ]);
  });

  test('gets the login of a repository after another repository had none', async () => {
    const credentials: Credentials = {
      find: (_, path) => (path === 'team/app' ? BOB.find('', path) : Promise.resolve(undefined)),
    };
    await using server = await serveHttp((request) => (request.path === '/v2/' ? ROOT_BASIC : content(request)));
    await using sources = testSources({ credentials });
    for (const path of ['open/app', 'team/app']) await sources.at(server.host, path).manifest(image.digest);
    expect(sent(server)).toEqual([
      ['/v2/open/app', undefined],
      ['/v2/', undefined],
      ['/v2/team/app', BASIC],
    ]);
  });
});

describe('a redirect of /v2/', () => {
  test.each([301, 302, 307])('with %i is followed to the challenge', async (status) => {
    await using server = await serveHttp((request) => {
      if (request.path === '/v2/') return [status, { location: '/auth/v2' }];
      if (request.path === '/auth/v2') return ROOT_BASIC;
      return request.headers.authorization === BASIC ? content(request) : NOT_FOUND;
    });
    await using sources = testSources({ credentials: BOB });
    expect((await sources.at(server.host, 'team/app').manifest(image.digest)).digest).toBe(image.digest);
    expect(sent(server).map(([path]) => path)).toEqual(['/v2/', '/auth/v2', '/v2/team/app']);
  });

  test('to another host does not let that host ask for the login', async () => {
    await using other = await serveHttp((request) => bearer(request));
    await using server = await serveHttp((request) =>
      request.path === '/v2/' ? [307, { location: `http://${other.host}/v2/` }] : NOT_FOUND,
    );
    await using sources = testSources({ credentials: BOB });
    await failureOf(sources.at(server.host, 'team/app').manifest(image.digest), 'manifest-unknown');
    for (const { requests } of [server, other])
      expect(requests.map(({ headers }) => headers.authorization)).not.toContain(BASIC);
    expect(sent(other)).toEqual([['/v2/', undefined]]);
  });
});

test.each([400, 403, 404])('a challenge that comes with a %i is answered', async (status) => {
  await using server = await serveHttp((request) => {
    if (request.path === '/v2/') return [200];
    if (request.path.startsWith('/token')) return [200, {}, '{"token":"anonymous"}'];
    return request.headers.authorization === 'Bearer anonymous' ? content(request) : bearer(request, status);
  });
  await using sources = testSources();
  expect((await sources.at(server.host, 'team/app').manifest(image.digest)).digest).toBe(image.digest);
  expect(sent(server).map(([path]) => path)).toEqual(['/v2/team/app', '/token', '/v2/team/app']);
});

test('a challenge that comes with a 404 for authorized content does not repeat the request', async () => {
  await using server = await serveHttp((request) => {
    if (request.path.startsWith('/token')) return [200, {}, '{"token":"anonymous"}'];
    return bearer(request, request.headers.authorization === undefined ? 401 : 404);
  });
  await using sources = testSources();
  const source = sources.at(server.host, 'team/app');
  for (let time = 0; time < 2; time += 1) await failureOf(source.manifest(image.digest), 'manifest-unknown');
  expect(sent(server).map(([path]) => path)).toEqual(['/v2/team/app', '/token', '/v2/team/app', '/v2/team/app']);
});

describe('a registry where only /v2/ sends a challenge', () => {
  test.each(REFUSALS)('is asked again with an anonymous token after it refuses content with %s', async (_, refusal) => {
    await using server = await guarded('Bearer anonymous', refusal, bearer);
    await using sources = testSources();
    expect((await sources.at(server.host, 'team/app').manifest(image.digest)).digest).toBe(image.digest);
    expect(sent(server)).toEqual([
      ['/v2/team/app', undefined],
      ['/v2/', undefined],
      ['/token', undefined],
      ['/v2/team/app', 'Bearer anonymous'],
    ]);
  });

  test('is asked again with a token after it redirects content to a login page', async () => {
    await using server = await serveHttp((request) => {
      if (request.path === '/v2/') return bearer(request);
      if (request.path.startsWith('/token')) return [200, {}, '{"token":"t"}'];
      if (request.path === '/login') return LOGIN_PAGE;
      return request.headers.authorization === 'Bearer t' ? content(request) : [302, { location: '/login' }];
    });
    await using sources = testSources();
    expect((await sources.at(server.host).resolve('1')).digest).toBe(image.digest);
    expect(sent(server).map(([path]) => path)).toEqual([
      ...['/v2/library/alpine', '/login', '/v2/', '/token', '/v2/library/alpine'],
    ]);
  });

  test('is asked for /v2/ once for concurrent requests, which all wait for its reply', async () => {
    const COUNT = 5;
    const refused = Promise.withResolvers<undefined>();
    let asked = 0;
    await using server = await serveHttp(async (request) => {
      if (request.path === '/v2/') await refused.promise;
      if (request.path === '/v2/') return bearer(request);
      if (request.path.startsWith('/token')) return [200, {}, '{"token":"t"}'];
      asked += 1;
      if (asked === COUNT) refused.resolve(undefined);
      return request.headers.authorization === 'Bearer t' ? content(request) : NOT_FOUND;
    });
    await using sources = testSources();
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
    await using sources = testSources();
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
    await using server = await guarded('', [status, {}, '{}'], bearer);
    await using sources = testSources();
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
