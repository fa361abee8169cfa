import { beforeEach, describe, expect, test } from 'vitest';
import { basicCredentials, type Logins } from '../../../lib/serve/logins.ts';
import type { Served as Answered } from '../../../lib/serve/served.ts';
import { makeImage, makeLayer } from '../../kit/images.ts';
import { refusal, Served } from './served.ts';

const NAME = 'docker.io/library/alpine';
const LAYER = makeLayer({ seed: 1 });
const IMAGE = makeImage({ layers: [LAYER] });
const basic = (text: string): string => `Basic ${Buffer.from(text).toString('base64')}`;

const logins: Logins = {
  userOf: (authorization) => {
    if (authorization === basic('broken:store')) return Promise.reject(new Error('the file is not readable'));
    return Promise.resolve(authorization === basic('ann:secret') ? 'ann' : undefined);
  },
};

let served: Served;
beforeEach(async () => {
  served = new Served({ logins });
  await served.add(NAME, IMAGE, '1.0');
});

describe('a registry with logins', () => {
  test('challenges every request without valid credentials, before it looks at the target', async () => {
    for (const target of ['/v2/', '/v2/_catalog', `/v2/${NAME}/manifests/1.0`, '/v2/../x', '/', '/healthz/'])
      for (const method of ['GET', 'HEAD', 'DELETE'])
        for (const headers of [{}, { authorization: basic('ann:wrong') }]) {
          const response = await served.get(target, headers, method);
          expect([target, response.status]).toEqual([target, 401]);
          expect(response.headers.get('www-authenticate')).toBe('Basic realm="mirror-sync"');
          expect(response.headers.get('cache-control')).toBe('no-store');
          const isApi = target.startsWith('/v2/');
          if (method !== 'HEAD' && isApi) expect(await refusal(response)).toBe('401 UNAUTHORIZED');
        }
  });

  test('answers its user, and /healthz without a login', async () => {
    const headers = { authorization: basic('ann:secret') };
    expect((await served.get(`/v2/${NAME}/manifests/1.0`, headers)).status).toBe(200);
    expect((await served.get('/healthz')).status).toBe(200);
    expect((await served.get('/healthz?x')).status).toBe(200);
  });

  test('answers 500 if the logins cannot be checked', async () => {
    const response = await served.get('/v2/', { authorization: basic('broken:store') });
    expect(await refusal(response)).toBe('500 UNKNOWN');
    expect(served.faults).toEqual([expect.stringContaining('the file is not readable')]);
  });
});

describe('credentials', () => {
  test('are read in UTF-8, and only the password contains a colon', () => {
    expect(basicCredentials(basic('ann:se:cret'))).toEqual({ user: 'ann', password: 'se:cret' });
    expect(basicCredentials(basic('zoë:pässwörd').replace('Basic', 'bAsIc'))).toEqual({
      user: 'zoë',
      password: 'pässwörd',
    });
    expect(basicCredentials(basic(':'))).toEqual({ user: '', password: '' });
  });

  test.each([undefined, '', 'Basic', 'Basic ', basic('ann'), 'Bearer YW5uOng=', 'Basic YW5uOng= x', 'Basic *'])(
    'are missing in %j',
    (header) => {
      expect(basicCredentials(header)).toBeUndefined();
    },
  );
});

describe('the facts about a request', () => {
  const facts = async (target: string, { method = 'GET', ...options } = {}): Promise<Omit<Answered, 'response'>> => {
    const request = new Request('http://registry.example/', {
      method,
      headers: { authorization: basic('ann:secret') },
      ...options,
    });
    const { response: _, ...rest } = await served.registry.serve(request, target);
    return rest;
  };
  const none = { user: 'ann', isMiss: false, redirectedBytes: 0, missingTag: undefined };

  test('name its kind and the user', async () => {
    expect(await facts(`/v2/${NAME}/manifests/1.0`)).toEqual({ ...none, kind: 'tag' });
    expect(await facts(`/v2/${NAME}/blobs/${LAYER.digest}`)).toEqual({ ...none, kind: 'blob' });
    expect(await facts('/v2/../x')).toEqual({ ...none, kind: 'other' });
    expect(await facts('/v2/', { method: 'DELETE' })).toEqual({ ...none, kind: 'other' });
    expect(await facts('/healthz')).toEqual({ ...none, user: undefined, kind: 'health' });
  });

  test('name a missing tag, with all repositories that the name may mean', async () => {
    served.with({ logins, defaultHost: 'docker.io' });
    for (const method of ['GET', 'HEAD']) {
      const missing = { ...none, kind: 'tag', isMiss: true };
      expect(await facts(`/v2/${NAME}/manifests/2.0`, { method })).toEqual({
        ...missing,
        missingTag: { repositories: [NAME, `docker.io/${NAME}`], tag: '2.0' },
      });
      expect(await facts('/v2/busybox/manifests/1?ns=docker.io', { method })).toEqual({
        ...missing,
        missingTag: { repositories: ['docker.io/library/busybox'], tag: '1' },
      });
      expect(await facts(`/v2/at-20260131/${NAME}/manifests/2.0`, { method })).toEqual(missing);
    }
    served.with({ logins, asOf: 1 });
    expect(await facts(`/v2/${NAME}/manifests/1.0`)).toEqual({ ...none, kind: 'tag', isMiss: true });
  });

  test('count missing content by digest as a miss', async () => {
    const digest = `sha256:${'0'.repeat(64)}`;
    expect(await facts(`/v2/${NAME}/manifests/${digest}`)).toEqual({ ...none, kind: 'manifest', isMiss: true });
    expect(await facts(`/v2/${NAME}/blobs/${digest}`)).toEqual({ ...none, kind: 'blob', isMiss: true });
    expect(await facts('/v2/docker.io/none/tags/list')).toEqual({ ...none, kind: 'tags' });
  });
});
