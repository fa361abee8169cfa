import { expect, test } from 'vitest';
import type { Credential } from '../../../lib/registry/auth/credentials.ts';
import { Tokens } from '../../../lib/registry/auth/tokens.ts';
import type { HttpRequest, Reply } from '../../../lib/registry/http/message.ts';

const WANTED = {
  realm: 'https://registry.example.com/token',
  service: 'a service',
  scope: 'repository:team/app:pull',
  registry: 'registry.example.com',
  namedBy: new URL('https://registry.example.com/v2/team/app/manifests/1'),
};
const USER: Credential = { username: 'user', password: 'pass', from: 'a file' };
const SCOPE = 'service=a+service&scope=repository%3Ateam%2Fapp%3Apull';

/** The requests for a token; all but the last one are answered with 404. */
async function requestsWith(credential: Credential | undefined, answers: number): Promise<HttpRequest[]> {
  const requests: HttpRequest[] = [];
  const send = (request: HttpRequest): Promise<Reply> => {
    requests.push(request);
    const pieces = [Buffer.from('{"token": "t"}')];
    const body = { read: () => Promise.resolve(pieces.shift()), cancel: () => undefined, expectShort: () => undefined };
    return Promise.resolve({ status: requests.length < answers ? 404 : 200, headers: {}, url: request.url, body });
  };
  const rules = { isInsecure: () => false, tokenService: () => undefined };
  const { token } = await new Tokens({ send, now: () => 0, rules }).get(WANTED, credential);
  expect(token.value).toBe('t');
  return requests;
}

test('a token request passes the URL of its challenge, which decides whether the realm may be reached', async () => {
  for (const request of [...(await requestsWith(USER, 2)), ...(await requestsWith(undefined, 1))])
    expect(request.namedBy).toBe(WANTED.namedBy);
});

test('a token without credentials costs one GET', async () => {
  const [request, ...more] = await requestsWith(undefined, 1);
  expect(request).toMatchObject({ method: 'GET', headers: { accept: 'application/json' } });
  expect(request?.headers).not.toHaveProperty('authorization');
  expect(request?.url.href).toBe(`${WANTED.realm}?${SCOPE}`);
  expect(more).toEqual([]);
});

test('a service without GET gets the password in a form', async () => {
  const [get, post, ...more] = await requestsWith(USER, 2);
  expect(get?.url.href).toBe(`${WANTED.realm}?${SCOPE}&account=user`);
  expect(get?.headers['authorization']).toBe(`Basic ${Buffer.from('user:pass').toString('base64')}`);
  expect(post).toMatchObject({
    method: 'POST',
    headers: { accept: 'application/json', 'content-type': 'application/x-www-form-urlencoded' },
    body: `client_id=mirror-sync&${SCOPE}&grant_type=password&username=user&password=pass`,
  });
  expect(post?.url.href).toBe(WANTED.realm);
  expect(more).toEqual([]);
});

test('an identity token is sent in a form at once', async () => {
  const [post, ...more] = await requestsWith({ username: '<token>', identityToken: 'identity', from: 'a file' }, 1);
  expect(post).toMatchObject({
    method: 'POST',
    body: `client_id=mirror-sync&${SCOPE}&grant_type=refresh_token&refresh_token=identity`,
  });
  expect(more).toEqual([]);
});
