import { afterAll, beforeAll, expect, test } from 'vitest';
import { readRun } from '../../../lib/sync/reports.ts';
import { verifyArchive } from '../../../lib/upkeep/verify.ts';
import type { Digest } from '../../../lib/oci/digest.ts';
import { type CosignTag, cosignTags } from '../../../lib/oci/referrer-tags.ts';
import { secretOf } from '../../../lib/webhook/secrets.ts';
import { proxyTo } from '../../kit/counting.ts';
import { makeArtifact } from '../../kit/images.ts';
import { WEBHOOK_SECRET } from '../../kit/lambda/deployment.ts';
import { describeOnAws } from '../../kit/lambda/on-aws.ts';
import type { Stack } from '../../kit/lambda/stack.ts';
import { describeWith, type Distribution, pushTo, startDistribution } from '../../kit/real.ts';
import { route } from '../../kit/routes.ts';
import { sharedImage } from '../../kit/shared-images.ts';
import { tempFolder, type TempFolder } from '../../kit/temp.ts';

const IMAGES = 20;
const REPOSITORY = 'team/app';
const DEAD = ['dead resolve', 'dead layer', 'dead finalize'];

const signal = AbortSignal.timeout(600_000);

await describeOnAws('on AWS', ({ start }) => {
  describeWith(['docker-registry'], 'from a real registry', () => {
    let folder: TempFolder;
    let registry: Distribution;
    /** A proxy in front of the registry that records the requests. */
    let front: Awaited<ReturnType<typeof proxyTo>>;
    let source: string;
    let stack: Stack;
    const expected: Record<string, Digest> = {};
    let asked: { readonly method: string; readonly kind: string; readonly tag?: string | undefined }[] = [];

    const count = (method: string, kind: string): number =>
      asked.filter((one) => one.method === method && one.kind === kind).length;

    beforeAll(async () => {
      folder = await tempFolder();
      registry = await startDistribution(folder.join('registry'));
      for (let index = 0; index < IMAGES; index += 1)
        expected[`v${index}`] = await pushTo(registry.host, REPOSITORY, sharedImage(index), `v${index}`);
      front = await proxyTo(`http://${registry.host}`, ({ method = '', url = '' }) => {
        asked.push({ method, ...route(new URL(url, 'http://registry').pathname) });
      });
      source = `${new URL(front.endpoint).host}/${REPOSITORY}`;
      stack = await start({ config: `version: 1\nmirrors:\n  - source: ${source}\n    tags: all\n` });
    });

    afterAll(async () => {
      await stack[Symbol.asyncDispose]();
      await front[Symbol.asyncDispose]();
      await registry[Symbol.asyncDispose]();
      await folder.remove();
    });

    const tags = async (): Promise<Record<string, Digest>> => {
      const read = await stack.archive.tagIndex(source);
      const entries = read?.index.entries() ?? [];
      return Object.fromEntries(entries.flatMap(({ tag, digest }) => (tag === undefined ? [] : [[tag, digest]])));
    };

    test('a schedule mirrors the images of the configuration', async () => {
      expect((await stack.schedule('first')).outcome).toMatchObject({ payload: { messages: 1 } });
      await stack.drained();
      expect(await tags()).toEqual(expected);
      const verified = await verifyArchive(stack.archive, { signal, concurrency: 2 });
      expect(verified.problems).toEqual([]);
      // One base, two shared layers, and one layer and one config per image: each blob is stored once.
      expect(count('GET', 'blob')).toBe(IMAGES + 3 + IMAGES);
      const told = stack.events.filter(({ type }) => type === 'Image Mirrored').map(({ detail }) => detail['tag']);
      expect(new Set(told)).toEqual(new Set(Object.keys(expected)));
      for (const queue of DEAD) expect(stack.batches(queue)).toEqual([]);
    });

    test('a webhook mirrors only the new tag', async () => {
      expected['new'] = await pushTo(registry.host, REPOSITORY, sharedImage(IMAGES), 'new');
      asked = [];
      const { outcome } = await stack.functions.webhook.invoke(delivery(source, expected['new']));
      expect(outcome).toMatchObject({ payload: { statusCode: 202 } });
      await stack.drained();
      expect(await tags()).toEqual(expected);
      expect(asked.filter(({ tag }) => tag !== undefined && tag !== 'new')).toEqual([]);
    });

    test('a repeated webhook changes nothing', async () => {
      asked = [];
      const resolves = stack.batches('resolve').length;
      const told = stack.events.length;
      const { outcome } = await stack.functions.webhook.invoke(delivery(source, expected['new']!));
      expect(outcome).toMatchObject({ payload: { statusCode: 202 } });
      await stack.drained();
      expect(stack.batches('resolve')).toHaveLength(resolves);
      expect(asked).toEqual([]);
      expect(stack.events).toHaveLength(told);
      expect(await tags()).toEqual(expected);
    });

    test('a second schedule costs one HEAD per tag, and no layer or write', async () => {
      asked = [];
      const layers = stack.batches('layer').length;
      const finalizes = stack.batches('finalize').length;
      const { outcome } = await stack.schedule('second');
      await stack.drained();
      expect(count('HEAD', 'manifest')).toBe(IMAGES + 1);
      expect(count('GET', 'manifest')).toBe(0);
      expect(asked.filter(({ kind }) => kind === 'blob')).toEqual([]);
      expect(stack.batches('layer')).toHaveLength(layers);
      expect(stack.batches('finalize')).toHaveLength(finalizes);
      const { run } = (outcome as { payload: { run: string } }).payload;
      expect(await readRun(stack.archive, run)).toEqual([]);
    });

    test('a webhook of a signature mirrors it at once as a referrer of its image, and requests no tag of an image', async () => {
      const subject = expected['v0']!;
      const [{ tag }] = cosignTags(subject) as [CosignTag];
      const signature = await pushTo(registry.host, REPOSITORY, makeArtifact({ blobs: [Buffer.from('signed')] }), tag);
      const other = makeArtifact({ subject: makeArtifact({ blobs: [Buffer.from('not mirrored')] }) });
      await pushTo(registry.host, REPOSITORY, other, other.digest);
      asked = [];
      for (const one of [delivery(source, signature, tag), delivery(source, other.digest, '')])
        expect((await stack.functions.webhook.invoke(one)).outcome).toMatchObject({ payload: { statusCode: 202 } });
      await stack.drained();
      expect((await stack.archive.tagIndex(source))?.index.referrersOf(subject)).toMatchObject([
        { tag, digest: signature },
      ]);
      expect(asked.filter((one) => one.tag !== undefined && !one.tag.startsWith(tag.slice(0, 71)))).toEqual([]);
      for (const queue of DEAD) expect(stack.batches(queue)).toEqual([]);
    });
  });
});

/** The notification of the distribution registry for a pushed tag, as a function URL delivers it. */
function delivery(source: string, digest: Digest, tag = 'new'): object {
  const [host, ...path] = source.split('/');
  const mediaType = 'application/vnd.oci.image.manifest.v1+json';
  const target = { mediaType, digest, size: 1, repository: path.join('/'), ...(tag === '' ? {} : { tag }) };
  return {
    rawPath: '/',
    rawQueryString: '',
    headers: {
      'content-type': 'application/vnd.docker.distribution.events.v1+json',
      authorization: `Bearer ${secretOf('distribution', WEBHOOK_SECRET)}`,
    },
    body: JSON.stringify({
      events: [{ id: 'e1', action: 'push', timestamp: '2026-01-01T00:00:00Z', target, request: { host } }],
    }),
    isBase64Encoded: false,
    requestContext: { requestId: 'r1', http: { method: 'POST' } },
  };
}
