import { ECRClient, GetAuthorizationTokenCommand } from '@aws-sdk/client-ecr';
import { mockClient } from 'aws-sdk-client-mock';
import { afterAll, beforeEach, expect, test } from 'vitest';
import { EcrCredentials } from '../../../functions/ecr.ts';
import { NO_CREDENTIALS } from '../../../lib/registry/auth/credentials.ts';

const ecr = mockClient(ECRClient);
const HOST = '123456789012.dkr.ecr.eu-central-1.amazonaws.com';
const HOUR = 3_600_000;

const token = { authorizationToken: Buffer.from('AWS:to:ken').toString('base64'), expiresAt: new Date(12 * HOUR) };

beforeEach(() => {
  ecr.reset();
  ecr.on(GetAuthorizationTokenCommand).resolves({ authorizationData: [token] });
});

afterAll(() => {
  ecr.restore();
});

async function regions(): Promise<unknown[]> {
  const clients = ecr.commandCalls(GetAuthorizationTokenCommand).map(({ thisValue }) => thisValue as ECRClient);
  return Promise.all(
    clients.map(async ({ config }) => [await config.region(), await config.useFipsEndpoint()].join(' ')),
  );
}

test.for([
  [HOST, 'eu-central-1 false'],
  ['123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn', 'cn-north-1 false'],
  ['123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com', 'us-gov-west-1 true'],
  ['123456789012.dkr-ecr.eu-west-1.on.aws', 'eu-west-1 false'],
  ['123456789012.dkr-ecr-fips.us-east-1.on.aws', 'us-east-1 true'],
  ['123456789012.dkr.ecr.eusc-de-east-1.amazonaws.eu', 'eusc-de-east-1 false'],
  ['123456789012.dkr.ecr.us-iso-east-1.c2s.ic.gov', 'us-iso-east-1 false'],
])('the function logs in to %s in its region', async ([host, place]) => {
  const credential = await new EcrCredentials(NO_CREDENTIALS).find(host!, 'team/app');
  expect(credential).toMatchObject({ username: 'AWS', password: 'to:ken' });
  expect(await regions()).toEqual([place]);
});

test.for([
  'docker.io',
  'public.ecr.aws',
  `${HOST}.example.com`,
  `x${HOST}`,
  '123456789012.dkr-ecr.eu-central-1.amazonaws.com',
  '123456789012.dkr.ecr.eu-central-1.amazonaws.eu',
])('the function does not log in to %s', async (host) => {
  expect(await new EcrCredentials(NO_CREDENTIALS).find(host, 'team/app')).toBeUndefined();
  expect(await regions()).toEqual([]);
});

test('a login in the secret takes precedence', async () => {
  const known = { username: 'me', password: 'mine', from: 'the secret' };
  const credentials = new EcrCredentials({ find: () => Promise.resolve(known) });
  expect(await credentials.find(HOST, 'team/app')).toBe(known);
  expect(await regions()).toEqual([]);
});

test('a token is requested once, and replaced before it expires', async () => {
  let now = 0;
  const credentials = new EcrCredentials(NO_CREDENTIALS, () => now);
  await Promise.all([credentials.find(HOST, 'a'), credentials.find(HOST, 'b')]);
  expect(await regions()).toHaveLength(1);
  now = 11 * HOUR;
  expect(credentials.stale).toBe(false);
  now = 12 * HOUR - 30 * 60_000;
  expect(credentials.stale).toBe(true);
});

test('all registries of a region share one login, and each region has its own', async () => {
  const credentials = new EcrCredentials(NO_CREDENTIALS);
  const other = HOST.replace('123456789012', '210987654321');
  const elsewhere = HOST.replace('eu-central-1', 'eu-west-1');
  const fips = HOST.replace('.ecr.', '.ecr-fips.');
  for (const host of [HOST, other, elsewhere, fips, HOST]) await credentials.find(host, 'team/app');
  expect(await regions()).toEqual(['eu-central-1 false', 'eu-west-1 false', 'eu-central-1 true']);
});

test('a denial names the missing permission, and a failure is not cached', async () => {
  const no = Object.assign(new Error('not authorized'), { name: 'AccessDeniedException' });
  ecr
    .on(GetAuthorizationTokenCommand)
    .rejectsOnce(no)
    .resolves({ authorizationData: [token] });
  const credentials = new EcrCredentials(NO_CREDENTIALS);
  await expect(credentials.find(HOST, 'a')).rejects.toMatchObject({
    code: 'denied',
    message: 'log in to ECR in eu-central-1: not authorized; deploy with --param ecrPull=on',
  });
  expect(await credentials.find(HOST, 'a')).toMatchObject({ username: 'AWS' });
});
