import { describe, expect, test } from 'vitest';
import type { Credential, Credentials } from '../../../lib/registry/auth/credentials.ts';
import { Authorizer } from '../../../lib/registry/auth/authorizer.ts';
import { parseToken, Tokens } from '../../../lib/registry/auth/tokens.ts';
import { Failure } from '../../../lib/core/failure.ts';
import { makeImage } from '../../kit/images.ts';
import { startRegistry } from '../../kit/registry.ts';
import { failureOf, testSources } from './helpers.ts';

const REPOSITORY = 'library/alpine';
const image = makeImage({ layers: [] });
const always = (credential: Omit<Credential, 'from'>): Credentials => ({
  find: () => Promise.resolve({ ...credential, from: 'config.json: auths["r"]' }),
});
const RULES = { isInsecure: () => false, tokenService: () => undefined };
const USER = always({ username: 'user', password: 'secret' });

describe('a Bearer registry', () => {
  test('costs one 401 and one token for any number of requests', async () => {
    await using registry = await startRegistry({ auth: { kind: 'bearer' } });
    await using sources = testSources();
    registry.push(REPOSITORY, image, '1');
    const source = sources.at(registry.host);
    for (let time = 0; time < 3; time += 1) await source.resolve('1');
    expect(registry.requests.map(({ kind, status }) => [kind, status])).toEqual([
      ['manifest', 401],
      ['token', 200],
      ['manifest', 200],
      ['manifest', 200],
      ['manifest', 200],
    ]);
  });

  test('gets a token for another repository without a second 401', async () => {
    await using registry = await startRegistry({ auth: { kind: 'bearer' } });
    await using sources = testSources();
    for (const repository of ['a/a', 'b/b']) registry.push(repository, image, '1');
    await sources.at(registry.host, 'a/a').resolve('1');
    registry.forgetRequests();
    await sources.at(registry.host, 'b/b').resolve('1');
    expect(registry.requests.map(({ kind, status }) => [kind, status])).toEqual([
      ['token', 200],
      ['manifest', 200],
    ]);
  });

  test('gets one token for many concurrent requests', async () => {
    await using registry = await startRegistry({ auth: { kind: 'bearer' } });
    await using sources = testSources();
    registry.push(REPOSITORY, image, '1');
    const source = sources.at(registry.host);
    await Promise.all(Array.from({ length: 8 }, () => source.resolve('1')));
    expect(registry.count({ kind: 'token' })).toBe(1);
  });

  test.each(['get', 'post'] as const)('accepts user and password (%s)', async (form) => {
    await using registry = await startRegistry({ auth: { kind: 'bearer', user: 'user', password: 'secret', form } });
    await using sources = testSources({ credentials: USER });
    registry.push(REPOSITORY, image, '1');
    expect((await sources.at(registry.host).resolve('1')).digest).toBe(image.digest);
  });

  test('accepts an identity token', async () => {
    await using registry = await startRegistry({ auth: { kind: 'bearer', refreshToken: 'long lived', form: 'post' } });
    await using sources = testSources({ credentials: always({ username: '<token>', identityToken: 'long lived' }) });
    registry.push(REPOSITORY, image, '1');
    expect((await sources.at(registry.host).resolve('1')).digest).toBe(image.digest);
  });

  test('gets a new token before the old one expires', async () => {
    await using registry = await startRegistry({ auth: { kind: 'bearer', ttlSeconds: 100 } });
    let now = 0;
    await using sources = testSources({ now: () => now });
    registry.push(REPOSITORY, image, '1');
    const source = sources.at(registry.host);
    await source.resolve('1');
    now = 89_000;
    await source.resolve('1');
    expect(registry.count({ kind: 'token' })).toBe(1);
    now = 91_000;
    await source.resolve('1');
    expect(registry.count({ kind: 'token' })).toBe(2);
    expect(registry.count({ status: 401 })).toBe(1);
  });

  test('gets a new token if it refuses one early', async () => {
    await using registry = await startRegistry({ auth: { kind: 'bearer', expiresAfterRequests: 1 } });
    await using sources = testSources();
    registry.push(REPOSITORY, image, '1');
    const source = sources.at(registry.host);
    for (let time = 0; time < 3; time += 1) await source.resolve('1');
    expect(registry.count({ kind: 'token' })).toBe(3);
    expect(sources.waits).toEqual([]);
  });

  // There is neither a retry nor an endless loop.
  test('denies access if it refuses a fresh token', async () => {
    await using registry = await startRegistry({ auth: { kind: 'bearer', expiresAfterRequests: 0 } });
    await using sources = testSources();
    registry.push(REPOSITORY, image, '1');
    await failureOf(sources.at(registry.host).manifest(image.digest), 'denied');
    expect(registry.count()).toBe(3);
    expect(sources.waits).toEqual([]);
  });

  test('is retried while its token service is down', async () => {
    await using registry = await startRegistry({ auth: { kind: 'bearer' } });
    await using sources = testSources();
    registry.push(REPOSITORY, image, '1');
    registry.misbehave({ match: { kind: 'token' }, times: 1, do: { status: 503 } });
    expect((await sources.at(registry.host).resolve('1')).digest).toBe(image.digest);
    // The waits are the pause, and then the pace of the host.
    expect(sources.waits).toEqual([100, 100]);
  });

  test('with wrong credentials leads to an error with their origin and not their value', async () => {
    await using registry = await startRegistry({ auth: { kind: 'bearer', user: 'user', password: 'other' } });
    await using sources = testSources({ credentials: USER });
    const failure = await failureOf(sources.at(registry.host).resolve('1'), 'denied');
    expect(failure.message).toContain('with the credentials from config.json: auths["r"]');
    expect(JSON.stringify([failure.message, failure.cause])).not.toContain('secret');
  });

  test('is asked without credentials if its token service refuses them', async () => {
    await using registry = await startRegistry({ auth: { kind: 'bearer' } });
    await using sources = testSources({ credentials: USER });
    registry.push(REPOSITORY, image, '1');
    const source = sources.at(registry.host);
    for (let time = 0; time < 2; time += 1) expect((await source.resolve('1')).digest).toBe(image.digest);
    expect(registry.requests.map(({ kind, status }) => [kind, status])).toEqual([
      ['ping', 401],
      ['token', 401],
      ['token', 200],
      ['manifest', 200],
      ['manifest', 200],
    ]);
  });

  test('leads to an error that names the refused credentials if the image is not public', async () => {
    await using registry = await startRegistry({ auth: { kind: 'bearer', expiresAfterRequests: 0 } });
    await using sources = testSources({ credentials: USER });
    registry.push(REPOSITORY, image, '1');
    const failure = await failureOf(sources.at(registry.host).manifest(image.digest), 'denied');
    expect(failure.message).toContain(`${registry.host} refused the credentials from config.json: auths["r"] with 401`);
  });

  test('is refused if its token service answers without a token', async () => {
    await using registry = await startRegistry({ auth: { kind: 'bearer' } });
    await using sources = testSources();
    registry.misbehave({ match: { kind: 'token' }, do: { status: 200, body: { token: 'two\nlines' } } });
    await failureOf(sources.at(registry.host).resolve('1'), 'invalid');
  });
});

describe('a Basic registry', () => {
  test('costs one 401', async () => {
    await using registry = await startRegistry({ auth: { kind: 'basic', user: 'user', password: 'secret' } });
    await using sources = testSources({ credentials: USER });
    registry.push(REPOSITORY, image, '1');
    const source = sources.at(registry.host);
    for (let time = 0; time < 2; time += 1) await source.resolve('1');
    expect(registry.requests.map(({ status }) => status)).toEqual([401, 200, 200]);
  });

  test('denies access if it refuses the password', async () => {
    await using registry = await startRegistry({ auth: { kind: 'basic', user: 'user', password: 'other' } });
    await using sources = testSources({ credentials: USER });
    const failure = await failureOf(sources.at(registry.host).manifest(image.digest), 'denied');
    expect(failure.message).toContain('with the credentials from config.json: auths["r"]');
    const sent = registry.requests.map(({ kind, authorization }) => [kind, authorization !== undefined]);
    expect(sent).toEqual([
      ['ping', false],
      ['manifest', true],
      ['manifest', false],
    ]);
  });
});

test('a registry token is used unchanged', async () => {
  await using registry = await startRegistry({ auth: { kind: 'bearer' } });
  await using sources = testSources({ credentials: always({ username: '', registryToken: 'given' }) });
  await failureOf(sources.at(registry.host).manifest(image.digest), 'denied');
  expect(registry.requests.map(({ authorization }) => authorization)).toEqual([undefined, 'Bearer given', undefined]);
});

// The registry chooses the realm, and plain HTTP would reveal the password.
test('credentials are not sent from a TLS registry to a token service without TLS', async () => {
  const tokens = new Tokens({ send: () => Promise.reject(new Error('must not be asked')), now: () => 0, rules: RULES });
  const header = 'Bearer realm="http://r.example/token"';
  const authorizer = new Authorizer({ host: 'r.example', credentials: USER, tokens });
  const asked = authorizer.challenged('a/a', { url: new URL('https://r.example/v2/'), header, sent: undefined });
  await expect(asked).rejects.toBeInstanceOf(Failure);
  await failureOf(asked, 'denied');
});

describe('the lifetime of a token', () => {
  const life = (body: object, date = Number.NaN): number | undefined =>
    parseToken(JSON.stringify({ token: 't', ...body }), 0, date)?.expiresAt;

  test('is that of the response less a margin, and a minute by default', () => {
    expect(life({ expires_in: 300 })).toBe(290_000);
    expect(life({ expires_in: 10 })).toBe(9_000);
    expect(life({})).toBe(54_000);
    expect(life({ expires_in: 0 })).toBe(54_000);
  });

  // Some services return cached tokens, and their clock may differ.
  test('begins at the issue time, by the clock of the token service', () => {
    const date = Date.parse('2024-01-01T00:01:00Z');
    expect(life({ expires_in: 300, issued_at: '2024-01-01T00:00:00Z' }, date)).toBe(230_000);
    expect(life({ expires_in: 300, issued_at: '2024-01-01T09:00:00Z' }, date)).toBe(290_000);
    expect(life({ expires_in: 300, issued_at: 'yesterday' }, date)).toBe(290_000);
  });

  test('requires a token in the response', () => {
    expect(parseToken('{"access_token":"a"}', 0, 0)?.value).toBe('a');
    expect(parseToken('{"Token":"a\\n"}', 0, 0)?.value).toBe('a');
    const twice = '{"token":"a","scope":"x","scope":"y","Expires_In":300}';
    expect(parseToken(twice, 0, 0)).toMatchObject({ value: 'a', expiresAt: 290_000 });
    expect(parseToken('{"token":" a b "}', 0, 0)?.value).toBe('a b');
    for (const body of ['', '[]', 'null', '{}', '{"token":""}', '{"token":"a\\nb"}', '{"token":1}'])
      expect(parseToken(body, 0, 0)).toBeUndefined();
  });
});
