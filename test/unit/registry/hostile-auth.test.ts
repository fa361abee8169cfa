import { describe, expect, test } from 'vitest';
import { Authorizer } from '../../../lib/registry/auth/authorizer.ts';
import type { Credentials } from '../../../lib/registry/auth/credentials.ts';
import { Tokens } from '../../../lib/registry/auth/tokens.ts';
import { type Received, serveHttp, type Reply } from '../../kit/http-server.ts';
import { makeImage } from '../../kit/images.ts';
import { failureOf, manifestAt, testSources } from './helpers.ts';
import type { HttpRequest } from '../../../lib/registry/http/message.ts';

const image = makeImage({ layers: [] });
const BASIC = `Basic ${Buffer.from('bob:hunter2secret').toString('base64')}`;
const BOB: Credentials = {
  find: () => Promise.resolve({ username: 'bob', password: 'hunter2secret', from: 'auth.json' }),
};

const content = ({ path }: Received): Reply => manifestAt(path, image);

describe('a challenge', () => {
  const bearer = (host: string, rest = ''): Reply => [
    401,
    { 'www-authenticate': `Bearer realm="http://${host}/token",service="s"${rest}` },
  ];

  test.each(['get', 'post'])(
    'cannot request a scope other than pulling the requested repository (%s)',
    async (form) => {
      const scope = ',scope="repository:prod/payments:pull,push,delete registry:catalog:* repository:a/b:pull,push"';
      await using server = await serveHttp((request) => {
        if (request.path.startsWith('/token'))
          return form === 'post' && request.method === 'GET' ? [405] : [200, {}, '{"token":"tok"}'];
        return request.headers.authorization === 'Bearer tok'
          ? content(request)
          : bearer(request.headers.host ?? '', scope);
      });
      await using sources = testSources({ credentials: BOB });
      await sources.at(server.host, 'a/b').manifest(image.digest);
      const asked = server.requests.filter(({ path }) => path.startsWith('/token')).at(-1);
      const params = form === 'post' ? asked?.body : asked?.path.split('?')[1];
      expect(new URLSearchParams(params).getAll('scope')).toEqual(['repository:a/b:pull']);
    },
  );

  test('of one repository does not fail the others if its token service fails', async () => {
    await using server = await serveHttp((request) => {
      if (request.path.startsWith('/token')) return [403, {}, '{}'];
      return request.path.includes('/bad/x/') ? bearer(request.headers.host ?? '') : content(request);
    });
    await using sources = testSources();
    await failureOf(sources.at(server.host, 'bad/x').manifest(image.digest), 'denied');
    expect((await sources.at(server.host, 'good/y').manifest(image.digest)).digest).toBe(image.digest);
  });

  test.each([
    ['cannot be had', 403],
    ['is refused', 200],
  ])(
    'of one repository is a guess for the others: if its token %s, they are asked without a token',
    async (_, status) => {
      await using server = await serveHttp((request) => {
        const { path, headers } = request;
        if (path.startsWith('/token'))
          return path.includes('private') ? [200, {}, '{"token":"tok"}'] : [status, {}, '{"token":"bad"}'];
        if (path.includes('/private/'))
          return headers.authorization === 'Bearer tok' ? content(request) : bearer(headers.host ?? '');
        return headers.authorization === undefined ? content(request) : [403, {}, '{}'];
      });
      await using sources = testSources();
      await sources.at(server.host, 'private/x').manifest(image.digest);
      const open = sources.at(server.host, 'public/y');
      for (let time = 0; time < 2; time += 1) expect((await open.manifest(image.digest)).digest).toBe(image.digest);
      const asked = server.requests
        .filter(({ path }) => path.includes('/public/'))
        .map(({ headers }) => headers.authorization);
      expect(asked).toEqual(status === 200 ? ['Bearer bad', undefined, undefined] : [undefined, undefined]);
    },
  );

  test("of one repository does not send another repository's password to a realm without TLS", async () => {
    const credentials: Credentials = {
      find: (_, path) => (path === 'private/y' ? BOB.find('reg.test', path) : Promise.resolve(undefined)),
    };
    const asked: HttpRequest[] = [];
    const send = (request: HttpRequest) => {
      asked.push(request);
      const pieces = [Buffer.from('{"token":"t"}')];
      const body = {
        read: () => Promise.resolve(pieces.shift()),
        cancel: () => undefined,
        expectShort: () => undefined,
      };
      return Promise.resolve({ status: 200, headers: {}, url: request.url, body });
    };
    const rules = { isInsecure: () => false, tokenService: () => undefined };
    const authorizer = new Authorizer({
      host: 'reg.test',
      credentials,
      tokens: new Tokens({ send, now: () => 0, rules }),
    });
    const url = new URL('https://reg.test/v2/');
    const header = 'Bearer realm="http://reg.test/token",service="s"';
    expect((await authorizer.challenged('public/x', { url, header, sent: undefined }))?.authorization).toBe('Bearer t');
    expect(await authorizer.authorize('private/y')).toBeUndefined();
    await failureOf(authorizer.challenged('private/y', { url, header, sent: undefined }), 'denied');
    expect(asked.map(({ headers }) => headers['authorization'])).toEqual([undefined]);
  });

  test('with a realm that is not a URL is quoted in the error', async () => {
    await using server = await serveHttp(() => [401, { 'www-authenticate': 'Bearer realm="/token",service="s"' }]);
    await using sources = testSources();
    const failure = await failureOf(sources.at(server.host).manifest(image.digest), 'denied');
    expect(failure.message).toContain('names a token service with an invalid URL "/token"');
  });

  test('that also offers Basic leads to Basic if the token service fails', async () => {
    await using server = await serveHttp((request) => {
      if (request.path.startsWith('/token')) return [404];
      if (request.headers.authorization === BASIC) return content(request);
      const [status, headers] = bearer(request.headers.host ?? '');
      return [status, { 'www-authenticate': `Basic realm="r", ${headers?.['www-authenticate'] ?? ''}` }];
    });
    await using sources = testSources({ credentials: BOB });
    expect((await sources.at(server.host).manifest(image.digest)).digest).toBe(image.digest);
  });
});

test('no error contains the secrets of a request, even if the registry repeats them', async () => {
  await using server = await serveHttp(({ headers }) => {
    if (headers.authorization === undefined) return [401, { 'www-authenticate': 'Basic realm="r"' }];
    const text = `forbidden; you sent ${headers.authorization}, which is bob:hunter2secret`;
    return [403, {}, JSON.stringify({ errors: [{ code: 'DENIED', message: text }] })];
  });
  await using sources = testSources({ credentials: BOB });
  const failure = await failureOf(sources.at(server.host).manifest(image.digest), 'denied');
  expect(failure.message).toContain('DENIED: forbidden; you sent Basic [redacted]');
  expect(failure.message).toContain('with the credentials from auth.json');
  expect(failure.message).not.toMatch(/hunter2|Ym9iOm/);
});

describe('tokens', () => {
  const wanted = {
    realm: 'https://r.test/token',
    service: 's',
    scope: 'repository:a:pull',
    registry: 'r.test',
    namedBy: new URL('https://r.test/v2/'),
  };
  const rules = { isInsecure: () => false, tokenService: () => undefined };

  function service(answer: (count: number) => Reply) {
    const authorizations: (string | undefined)[] = [];
    const bodies: (string | undefined)[] = [];
    const send = ({ url, headers, body: form }: HttpRequest) => {
      authorizations.push(headers['authorization']);
      bodies.push(form);
      const [status, head = {}, body = ''] = answer(authorizations.length);
      const pieces = [Buffer.from(body as string)];
      const reply = {
        read: () => Promise.resolve(pieces.shift()),
        cancel: () => undefined,
        expectShort: () => undefined,
      };
      return Promise.resolve({ status, headers: head, url, body: reply });
    };
    return { tokens: new Tokens({ send, now: () => 0, rules }), authorizations, bodies };
  }

  test("of two users are separate, and each is requested with the user's own credentials", async () => {
    const { tokens, authorizations } = service((count) => [200, {}, `{"token":"t${count}"}`]);
    const values = [];
    for (const username of ['a', 'b', 'a', 'b'])
      values.push((await tokens.get(wanted, { username, password: 'p', from: 'f' })).token.value);
    expect(values).toEqual(['t1', 't2', 't1', 't2']);
    expect(authorizations).toEqual(['a', 'b'].map((user) => `Basic ${Buffer.from(`${user}:p`).toString('base64')}`));
  });

  test('of two registries are separate, although both name the same token service', async () => {
    const { tokens } = service((count) => [200, {}, `{"token":"t${count}"}`]);
    const credential = { username: 'bob', password: 'hunter2secret', from: 'f' };
    expect((await tokens.get(wanted, credential)).token.value).toBe('t1');
    const other = { ...wanted, registry: 'other.test', namedBy: new URL('https://other.test/v2/') };
    const { token } = await tokens.get(other, credential);
    expect(token.value).toBe('t2');
    expect(token.withheld).toContain('the credentials from f are not sent to r.test');
  });

  test.each([
    { username: 'bob', password: 'hunter2secret', from: 'f' },
    { username: '<token>', identityToken: 'refresh', from: 'f' },
  ])(
    'of an unknown token service are requested without credentials (%j), and the error says so',
    async (credential) => {
      const { tokens, authorizations, bodies } = service(() => [401, {}, '{}']);
      const elsewhere = { ...wanted, realm: 'https://evil.test/token' };
      const failure = await failureOf(tokens.get(elsewhere, credential), 'denied');
      expect(authorizations).toEqual([undefined]);
      expect(bodies).toEqual([undefined]);
      expect(failure.message).toContain('to allow it, set registries.r.test.tokenService');
    },
  );

  test('beyond a thousand are evicted, the least recently used first', async () => {
    const { tokens, authorizations } = service((count) => [200, {}, `{"token":"t${count}"}`]);
    const get = (n: number) => tokens.get({ ...wanted, scope: `repository:a${n}:pull` }, undefined);
    for (let n = 0; n <= 1_000; n += 1) await get(n);
    await get(1_000);
    expect(authorizations).toHaveLength(1_001);
    await get(0);
    expect(authorizations).toHaveLength(1_002);
  });

  test('longer than 64 KiB are refused, and not quoted', async () => {
    const { tokens } = service(() => [200, {}, `{"token":"${'x'.repeat(70_000)}"}`]);
    const failure = await failureOf(tokens.get(wanted, undefined));
    expect(failure.message).not.toContain('xxx');
    expect(failure.message.length).toBeLessThan(200);
  });

  test.each([
    ['201', [201, {}, '{"token":"t"}']],
    ['a line end behind the token', [200, {}, '{"token":"t\\n"}']],
    ['access_token', [200, {}, '{"access_token":"t"}']],
  ] as [string, Reply][])('are accepted from unusual responses: %s', async (_, reply) => {
    const { tokens } = service(() => reply);
    expect((await tokens.get(wanted, undefined)).token.value).toBe('t');
  });

  test('are requested with POST if GET is answered 400', async () => {
    const { tokens } = service((count) => (count === 1 ? [400] : [200, {}, '{"token":"t"}']));
    const credential = { username: 'u', password: 'p', from: 'f' };
    expect((await tokens.get(wanted, credential)).token.value).toBe('t');
  });

  test.each(['0001-01-01T00:00:00Z', '1970-01-01T00:00:00Z'])('that were issued at %s are kept', async (issued) => {
    const date = { date: 'Mon, 01 Jan 2024 00:00:00 GMT' };
    const { tokens, authorizations } = service(() => [200, date, `{"token":"t","issued_at":"${issued}"}`]);
    for (let time = 0; time < 3; time += 1) await tokens.get(wanted, undefined);
    expect(authorizations).toHaveLength(1);
  });

  test('in an invalid response are refused without a quotation of it', async () => {
    const { tokens } = service(() => [200, {}, '{"token":"sensitive\\tvalue"}']);
    expect((await failureOf(tokens.get(wanted, undefined), 'invalid')).message).not.toContain('sensitive');
  });
});
