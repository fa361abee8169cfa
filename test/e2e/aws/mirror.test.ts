import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { verifyArchive } from '../../../lib/mirror/verify.ts';
import type { Digest } from '../../../lib/oci/digest.ts';
import { makeImage, makeLayer } from '../../kit/images.ts';
import { WEBHOOK_SECRET } from '../../kit/lambda/deployment.ts';
import { buildBundles, Stack } from '../../kit/lambda/stack.ts';
import { startRegistry, type TestRegistry } from '../../kit/registry.ts';
import { startS3Server } from '../../kit/s3-server.ts';
import { startElasticMq, startFauxSqs } from '../../kit/sqs-server.ts';
import type { TempFolder } from '../../kit/temp.ts';

const IMAGES = 20;

const s3 = await startS3Server();
const elasticMq = 'skipped' in s3 ? s3 : await startElasticMq();
const sqs = 'skipped' in elasticMq ? await startFauxSqs() : elasticMq;
const signal = AbortSignal.timeout(600_000);

/** Images 0 to n-1 share a base layer, and every other one a second. */
function image(index: number): ReturnType<typeof makeImage> {
  const base = makeLayer({ seed: 1, size: 200_000 });
  const shared = makeLayer({ seed: 2 + (index % 2), size: 100_000 });
  return makeImage({ layers: [base, shared, makeLayer({ seed: 100 + index, size: 50_000 })] });
}

async function tags(stack: Stack, repository: string): Promise<Record<string, Digest>> {
  const read = await stack.archive.tagIndex(repository);
  return Object.fromEntries(
    read?.index.entries().flatMap(({ tag, digest }) => (tag === undefined ? [] : [[tag, digest]])) ?? [],
  );
}

if ('skipped' in s3)
  describe('on AWS', () => {
    test.skip(`skipped: ${s3.skipped}`, () => undefined);
  });
else
  describe(`on AWS: the bundles, a real registry, real queues (${'skipped' in elasticMq ? 'fauxqs' : 'ElasticMQ'}), real S3`, () => {
    let bundles: TempFolder;
    let registry: TestRegistry;
    let stack: Stack;
    const expected: Record<string, Digest> = {};

    beforeAll(async () => {
      bundles = await buildBundles();
      registry = await startRegistry();
      for (let index = 0; index < IMAGES; index += 1)
        expected[`v${index}`] = registry.push('team/app', image(index), `v${index}`);
      const config = `version: 1\nmirrors:\n  - source: ${registry.host}/team/app\n    tags: all\n`;
      stack = await Stack.start({ bundles, sqs, s3, config });
    });

    afterAll(async () => {
      await stack[Symbol.asyncDispose]();
      await registry.close();
      await bundles.remove();
      await sqs[Symbol.asyncDispose]();
      await s3.close();
    });

    // The schedule comes for the first time: everything is fetched once, proven, and can be pulled.
    test('a schedule mirrors what the configuration names', async () => {
      expect((await stack.schedule('first')).outcome).toMatchObject({ payload: { messages: 1 } });
      await stack.drained();
      const repository = `${registry.host}/team/app`;
      expect(await tags(stack, repository)).toEqual(expected);
      const verified = await verifyArchive(stack.archive, { signal, concurrency: 2 });
      expect(verified.problems).toEqual([]);
      // 1 base, 2 shared, and one of its own for each: no blob twice.
      expect(registry.count({ kind: 'blob', method: 'GET' })).toBe(IMAGES + 3 + IMAGES);
      const told = stack.events.filter(({ type }) => type === 'Image Mirrored').map(({ detail }) => detail['tag']);
      expect(new Set(told)).toEqual(new Set(Object.keys(expected)));
      for (const queue of ['dead resolve', 'dead layer', 'dead finalize']) expect(stack.batches(queue)).toEqual([]);
    });

    // The registry tells of a new tag: that one is mirrored, and nothing else is asked for.
    test('a webhook mirrors a new tag', async () => {
      registry.forgetRequests();
      const digest = registry.push('team/app', image(IMAGES), 'new');
      const { outcome } = await stack.functions.webhook.invoke(delivery(registry.host, digest));
      expect(outcome).toMatchObject({ payload: { statusCode: 202 } });
      await stack.drained();
      expected['new'] = digest;
      expect(await tags(stack, `${registry.host}/team/app`)).toEqual(expected);
      expect(registry.requests.every(({ tag }) => tag === undefined || tag === 'new')).toBe(true);
    });

    // The schedule comes again, and nothing has changed: one HEAD a tag, no layer, no write.
    test('a second schedule finds everything unchanged', async () => {
      registry.forgetRequests();
      const layers = stack.batches('layer').length;
      const finalizes = stack.batches('finalize').length;
      await stack.schedule('second');
      await stack.drained();
      expect(registry.count({ kind: 'manifest', method: 'HEAD' })).toBe(IMAGES + 1);
      expect(registry.count({ kind: 'manifest', method: 'GET' })).toBe(0);
      expect(registry.count({ kind: 'blob' })).toBe(0);
      expect(stack.batches('layer')).toHaveLength(layers);
      expect(stack.batches('finalize')).toHaveLength(finalizes);
    });
  });

/** What the distribution registry posts when a tag is pushed, as a function URL hands it on. */
function delivery(host: string, digest: Digest): object {
  const target = {
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    digest,
    size: 1,
    repository: 'team/app',
    tag: 'new',
  };
  return {
    rawPath: '/',
    rawQueryString: '',
    headers: {
      'content-type': 'application/vnd.docker.distribution.events.v1+json',
      authorization: `Bearer ${WEBHOOK_SECRET}`,
    },
    body: JSON.stringify({
      events: [{ id: 'e1', action: 'push', timestamp: '2026-01-01T00:00:00Z', target, request: { host } }],
    }),
    isBase64Encoded: false,
    requestContext: { requestId: 'r1', http: { method: 'POST' } },
  };
}
