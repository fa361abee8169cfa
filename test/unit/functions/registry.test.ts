import { createHash } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { HttpEvent, HttpResult } from '../../../functions/http.ts';
import { makeImage, makeLayer } from '../../kit/images.ts';
import { balancerEvent, functionUrlEvent, type HttpCall } from '../../kit/lambda/http-events.ts';
import { Served } from '../serve/served.ts';
import { contextOf, OnMocks } from './on-mocks.ts';

const REPOSITORY = 'docker.io/library/app';
const LAYER = makeLayer({ seed: 1, size: 5_000 });
const IMAGE = makeImage({ layers: [LAYER] });
const TOKEN = 'a-generated-token';
const LOGIN = { authorization: `Basic ${Buffer.from(`ci:${TOKEN}`).toString('base64')}` };
const BLOB = `/v2/${REPOSITORY}/blobs/${LAYER.digest}`;

let aws: OnMocks;
beforeEach(async () => {
  aws = new OnMocks();
  vi.stubEnv('AWS_ACCESS_KEY_ID', 'key');
  vi.stubEnv('AWS_SECRET_ACCESS_KEY', 'secret');
  vi.stubEnv('AWS_SESSION_TOKEN', 'session');
  aws.secrets['tokens'] = JSON.stringify({ ci: createHash('sha256').update(TOKEN).digest('hex') });
  const served = new Served();
  await served.add(REPOSITORY, IMAGE, '1.0');
  for await (const { key } of served.store.list('')) {
    const found = await served.store.get(key, { maxBytes: 1_000_000 });
    aws.s3.objects.set(`archive/${key}`, found!.bytes);
  }
});
afterEach(() => {
  vi.useRealTimers();
  aws[Symbol.dispose]();
});

async function call(request: HttpCall, eventOf: (call: HttpCall) => HttpEvent = functionUrlEvent): Promise<HttpResult> {
  const { handler } = await import('../../../functions/registry.ts');
  return handler(eventOf(request), contextOf());
}

const requests = (): unknown[] => aws.log.filter(({ message }) => message === 'request');

describe('the registry function', () => {
  test('sends a manifest byte for byte, and logs who pulled it', async () => {
    const result = await call({ target: `/v2/${REPOSITORY}/manifests/1.0`, headers: LOGIN });
    expect(result.statusCode).toBe(200);
    expect(Buffer.from(result.body, 'base64')).toEqual(IMAGE.manifest);
    expect(requests()).toEqual([
      expect.objectContaining({
        level: 'INFO',
        user: 'ci',
        client: '203.0.113.7',
        method: 'GET',
        target: `/v2/${REPOSITORY}/manifests/1.0`,
        status: 200,
        bytes: IMAGE.manifest.length,
        kind: 'tag',
        redirectedBytes: 0,
      }),
    ]);
    expect(aws.metrics).toMatchObject({ RegistryRequests: 1 });
    expect(aws.metrics).not.toHaveProperty('RegistryMisses');
  });

  test('redirects a layer to S3, counts its bytes, and logs no URL that grants access', async () => {
    const result = await call({ target: BLOB, headers: LOGIN }, balancerEvent);
    expect(result).toMatchObject({ statusCode: 307, body: '' });
    const location = new URL(String(result.headers?.['location']));
    expect(location.origin).toBe('https://bucket.s3.eu-central-1.amazonaws.com');
    expect(location.searchParams.get('X-Amz-SignedHeaders')).toBe('host');
    expect(aws.metrics).toMatchObject({ RegistryBytesRedirected: LAYER.size });
    expect(JSON.stringify(aws.log)).not.toContain('X-Amz-Signature');
  });

  test('counts misses', async () => {
    expect(await call({ target: `/v2/${REPOSITORY}/manifests/2.0`, headers: LOGIN })).toMatchObject({
      statusCode: 404,
    });
    expect(aws.metrics).toMatchObject({ RegistryRequests: 1, RegistryMisses: 1 });
  });

  test('orders a missing image that the configuration mirrors, once, and answers 404', async () => {
    vi.stubEnv('MIRROR_SYNC_REGISTRY_FILL', 'on');
    aws.config = `version: 1\nmirrors: [{ source: ${REPOSITORY}, tags: ['2.0'] }]`;
    for (const tag of ['2.0', '2.0', '3.0'])
      expect(await call({ target: `/v2/${REPOSITORY}/manifests/${tag}`, headers: LOGIN })).toMatchObject({
        statusCode: 404,
      });
    expect(aws.sent('resolve')).toMatchObject([
      { message: { source: REPOSITORY, what: { images: [{ tag: '2.0' }] } }, isAbortable: true },
    ]);
    expect(requests()).toMatchObject([{ order: 'ordered' }, { order: 'recent' }, { order: 'unlisted' }]);
    expect(aws.metrics).toMatchObject({ RegistryMisses: 3, RegistryOrders: 1 });
  });

  test('orders nothing without a login, without registryFill, and by digest', async () => {
    aws.config = `version: 1\nmirrors: [{ source: ${REPOSITORY}, tags: ['2.0'] }]`;
    await call({ target: `/v2/${REPOSITORY}/manifests/2.0`, headers: LOGIN });
    vi.resetModules();
    vi.stubEnv('MIRROR_SYNC_REGISTRY_FILL', 'on');
    await call({ target: `/v2/${REPOSITORY}/manifests/2.0` });
    await call({ target: `/v2/${REPOSITORY}/manifests/sha256:${'a'.repeat(64)}`, headers: LOGIN });
    expect(aws.sent('resolve')).toEqual([]);
  });

  test('answers 404 also if an order fails, and logs the reason', async () => {
    vi.stubEnv('MIRROR_SYNC_REGISTRY_FILL', 'on');
    aws.config = 'version: 1\nmirrors: wrong';
    const result = await call({ target: `/v2/${REPOSITORY}/manifests/2.0`, headers: LOGIN });
    expect(result).toMatchObject({ statusCode: 404 });
    expect(requests()).toMatchObject([{ order: 'failed' }]);
    expect(aws.metrics).toMatchObject({ RegistryErrors: 1 });
    expect(aws.log).toContainEqual(expect.objectContaining({ level: 'ERROR', message: 'fault' }));
  });

  test('asks for a login, except for health checks', async () => {
    const refused = await call({ target: '/v2/' });
    expect(refused).toMatchObject({ statusCode: 401, headers: { 'www-authenticate': 'Basic realm="mirror-sync"' } });
    const wrong = { authorization: `Basic ${Buffer.from('ci:wrong').toString('base64')}` };
    expect(await call({ target: BLOB, headers: wrong })).toMatchObject({ statusCode: 401 });
    expect(await call({ target: '/healthz' }, balancerEvent)).toMatchObject({ statusCode: 200 });
    expect(aws.s3.requests).toEqual([]);
    expect(JSON.stringify(aws.log)).not.toContain('wrong');
  });

  test('refuses a token within a minute of its removal', async () => {
    vi.useFakeTimers({ toFake: ['Date'] });
    expect(await call({ target: '/v2/', headers: LOGIN })).toMatchObject({ statusCode: 200 });
    aws.secrets['tokens'] = '{}';
    vi.advanceTimersByTime(61_000);
    expect(await call({ target: '/v2/', headers: LOGIN })).toMatchObject({ statusCode: 401 });
  });

  test('keeps the last valid secret, and reports an invalid one', async () => {
    vi.useFakeTimers({ toFake: ['Date'] });
    expect(await call({ target: '/v2/', headers: LOGIN })).toMatchObject({ statusCode: 200 });
    aws.secrets['tokens'] = 'no JSON';
    vi.advanceTimersByTime(61_000);
    expect(await call({ target: '/v2/', headers: LOGIN })).toMatchObject({ statusCode: 200 });
    expect(aws.metrics).toMatchObject({ ConfigurationRefused: 1 });
  });

  test('refuses everyone while the first secret is invalid', async () => {
    aws.secrets['tokens'] = 'no JSON';
    expect(await call({ target: BLOB, headers: LOGIN })).toMatchObject({ statusCode: 500 });
    expect(aws.metrics).toMatchObject({ RegistryErrors: 1 });
    expect(JSON.stringify(aws.log)).toContain('read registry tokens');
  });

  test('serves everyone if its variable says public', async () => {
    vi.stubEnv('MIRROR_SYNC_REGISTRY_TOKENS_SECRET', 'public');
    expect(await call({ target: `/v2/${REPOSITORY}/manifests/1.0` })).toMatchObject({ statusCode: 200 });
    expect(requests()).toEqual([expect.not.objectContaining({ user: expect.anything() as string })]);
  });

  test('hides the reason of an error of S3, and logs it', async () => {
    aws.s3.refuse = () => true;
    const result = await call({ target: `/v2/${REPOSITORY}/manifests/1.0`, headers: LOGIN });
    expect(result.statusCode).toBe(500);
    expect(Buffer.from(result.body, 'base64').toString()).not.toContain('bucket');
    expect(aws.log).toContainEqual(expect.objectContaining({ level: 'ERROR', message: 'fault' }));
  });
});
