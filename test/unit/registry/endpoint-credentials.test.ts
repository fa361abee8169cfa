/** Two endpoints of one registry, each with its own credentials. */
import { expect, test } from 'vitest';
import type { Credentials } from '../../../lib/registry/auth/credentials.ts';
import { makeImage } from '../../kit/images.ts';
import { startRegistry, type TestRegistry } from '../../kit/registry.ts';
import { testSources } from './helpers.ts';

const REPOSITORY = 'library/alpine';
const image = makeImage({ layers: [] });

const basicOf = (user: string): string => `Basic ${Buffer.from(`${user}:password of ${user}`).toString('base64')}`;

/** The credentials of each host; a lookup for another host fails the test. */
function credentialsOf(users: Readonly<Record<string, string>>): Credentials {
  return {
    find: (host) => {
      const username = users[host];
      if (username === undefined) return Promise.reject(new Error(`credentials for ${host} were looked up`));
      const from = `config.json: auths["${host}"]`;
      return Promise.resolve({ username, password: `password of ${username}`, from });
    },
  };
}

/** Each different Authorization that a registry received. */
const received = ({ requests }: TestRegistry): ReadonlySet<string | undefined> =>
  new Set(requests.map(({ authorization }) => authorization));

test.each(['basic', 'bearer'] as const)(
  'an endpoint receives only its own credentials while the registry requests %s from it',
  async (kind) => {
    const start = (user: string): Promise<TestRegistry> =>
      startRegistry({ auth: { kind, user, password: `password of ${user}` } });
    await using mirror = await start('mirror-user');
    await using upstream = await start('upstream-user');
    await using sources = testSources({
      endpoints: { 'docker.io': [mirror.host, upstream.host] },
      credentials: credentialsOf({ [mirror.host]: 'mirror-user', [upstream.host]: 'upstream-user' }),
    });
    mirror.push(REPOSITORY, image, 'both');
    upstream.push(REPOSITORY, image, 'both');
    upstream.push(REPOSITORY, image, 'upstream-only');
    const source = sources.at('docker.io');
    // The mirror lacks the second tag, so each round asks both endpoints, the second one with the knowledge of the
    // first round.
    for (const tag of ['both', 'upstream-only', 'both', 'upstream-only'])
      expect((await source.resolve(tag)).digest).toBe(image.digest);

    const isOwn = (user: string, authorization: string | undefined): boolean =>
      authorization === undefined || authorization === basicOf(user) || authorization.startsWith('Bearer ');
    expect([...received(mirror)].every((each) => isOwn('mirror-user', each))).toBe(true);
    expect([...received(upstream)].every((each) => isOwn('upstream-user', each))).toBe(true);
    expect(received(mirror)).toContain(basicOf('mirror-user'));
    expect(received(upstream)).toContain(basicOf('upstream-user'));
    const bearers = [mirror, upstream].map(
      (registry) => [...received(registry)].filter((each) => each?.startsWith('Bearer ') === true).length,
    );
    expect(bearers).toEqual(kind === 'bearer' ? [1, 1] : [0, 0]);
    const common = [...received(mirror)].filter((each) => each !== undefined && received(upstream).has(each));
    expect(common).toEqual([]);
  },
);

test('an endpoint without credentials receives no authorization of the other endpoint', async () => {
  await using mirror = await startRegistry();
  await using upstream = await startRegistry({ auth: { kind: 'basic', user: 'user', password: 'password of user' } });
  const known = credentialsOf({ [upstream.host]: 'user' });
  await using sources = testSources({
    endpoints: { 'docker.io': [mirror.host, upstream.host] },
    credentials: {
      find: (host, ...rest) => (host === mirror.host ? Promise.resolve(undefined) : known.find(host, ...rest)),
    },
  });
  mirror.push(REPOSITORY, image, 'both');
  upstream.push(REPOSITORY, image, 'upstream-only');
  const source = sources.at('docker.io');
  for (const tag of ['upstream-only', 'both', 'upstream-only']) await source.resolve(tag);
  expect([...received(mirror)]).toEqual([undefined]);
  expect(received(upstream)).toContain(basicOf('user'));
});
