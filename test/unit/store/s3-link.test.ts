import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { connect } from '../../../lib/store/s3/client.ts';
import { S3Store, type S3StoreOptions } from '../../../lib/store/s3/store.ts';
import { withoutAwsVariables } from '../../kit/s3-server.ts';

const NOW = Date.parse('2026-01-31T12:00:00Z');
const KEY = 'blobs/sha256/ab';
const CREDENTIALS = { accessKeyId: 'key', secretAccessKey: 'secret' };

let restore: () => void;
beforeEach(() => {
  restore = withoutAwsVariables();
  vi.useFakeTimers({ now: NOW, toFake: ['Date'] });
});
afterEach(() => {
  vi.useRealTimers();
  restore();
});

async function link(options: Partial<S3StoreOptions> = {}): Promise<URL> {
  const store = new S3Store({
    bucket: 'images',
    prefix: 'archive',
    region: 'eu-central-1',
    credentials: CREDENTIALS,
    ...options,
  });
  try {
    return new URL(await store.link(KEY));
  } finally {
    await store.close();
  }
}

const endingIn = (seconds: number): Partial<S3StoreOptions> => ({
  credentials: { ...CREDENTIALS, sessionToken: 'token', expiration: new Date(NOW + seconds * 1_000) },
});

describe('a link to an object in S3', () => {
  test('signs only the host, so that a client may send any header', async () => {
    const { origin, pathname, searchParams } = await link();
    expect(origin + pathname).toBe(`https://images.s3.eu-central-1.amazonaws.com/archive/${KEY}`);
    expect(searchParams.get('X-Amz-SignedHeaders')).toBe('host');
    expect([...searchParams.keys()].sort()).toEqual([
      'X-Amz-Algorithm',
      'X-Amz-Content-Sha256',
      'X-Amz-Credential',
      'X-Amz-Date',
      'X-Amz-Expires',
      'X-Amz-Signature',
      'X-Amz-SignedHeaders',
      'x-id',
    ]);
  });

  test('escapes the key, and addresses a custom endpoint by path', async () => {
    const { href } = await link({ prefix: 'a b/ü+', endpoint: 'http://localhost:7070' });
    expect(href).toContain(`http://localhost:7070/images/a%20b/%C3%BC%2B/${KEY}?`);
  });

  test('names the type of the response if the caller does', async () => {
    const store = new S3Store({ bucket: 'images', prefix: '', region: 'eu-central-1', credentials: CREDENTIALS });
    const { searchParams } = new URL(await store.link(KEY, { contentType: 'application/json' }));
    await store.close();
    expect(searchParams.get('response-content-type')).toBe('application/json');
    expect(searchParams.get('X-Amz-SignedHeaders')).toBe('host');
  });

  test('is valid for 15 minutes, and ends before the credentials', async () => {
    const seconds = async (options?: Partial<S3StoreOptions>): Promise<string | null> =>
      (await link(options)).searchParams.get('X-Amz-Expires');
    expect(await seconds()).toBe('900');
    expect(await seconds(endingIn(3_600))).toBe('900');
    expect(await seconds(endingIn(600))).toBe('590');
    expect(await seconds(endingIn(70))).toBe('60');
    expect((await link(endingIn(600))).searchParams.get('X-Amz-Security-Token')).toBe('token');
  });

  test('is refused if the credentials end within a minute', async () => {
    await expect(link(endingIn(69))).rejects.toMatchObject({
      code: 'token-expired',
      remedy: 'retry',
      side: 'archive',
      detail: 'the credentials end at 2026-01-31T12:01:09.000Z; renew them',
    });
  });

  test('is signed with renewed credentials when a provider has them', async () => {
    const ends = [30, 3_600].map((seconds) => new Date(NOW + seconds * 1_000));
    const client = await connect({
      region: 'eu-central-1',
      credentials: () => Promise.resolve({ ...CREDENTIALS, expiration: ends.shift()! }),
    });
    await client.config.credentials();
    expect((await link({ client })).searchParams.get('X-Amz-Expires')).toBe('900');
  });

  test('reports missing credentials with their remedy', async () => {
    const env = { AWS_EC2_METADATA_DISABLED: 'true', AWS_REGION: 'eu-central-1' };
    Object.assign(process.env, env);
    await expect(link({ credentials: undefined })).rejects.toMatchObject({
      code: 'denied',
      detail: expect.stringContaining('set AWS_PROFILE') as string,
    });
  });
});
