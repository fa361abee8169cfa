import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readRun } from '../../../lib/mirror/reports.ts';
import { verifyArchive } from '../../../lib/mirror/verify.ts';
import type { Digest } from '../../../lib/oci/digest.ts';
import { makeImage, makeLayer } from '../../kit/images.ts';
import { buildBundles, Stack } from '../../kit/lambda/stack.ts';
import { poisoned } from '../../kit/poisoned.ts';
import { errorBody, startRegistry, type TestRegistry } from '../../kit/registry.ts';
import { startS3Server } from '../../kit/s3-server.ts';
import { startElasticMq, startFauxSqs } from '../../kit/sqs-server.ts';
import type { TempFolder } from '../../kit/temp.ts';

const s3 = await startS3Server();
const elasticMq = 'skipped' in s3 ? s3 : await startElasticMq();
const sqs = 'skipped' in elasticMq ? await startFauxSqs() : elasticMq;

if ('skipped' in s3)
  describe('on AWS, in trouble', () => {
    test.skip(`skipped: ${s3.skipped}`, () => undefined);
  });
else
  describe('on AWS, in trouble', () => {
    let bundles: TempFolder;

    beforeAll(async () => {
      bundles = await buildBundles();
    });

    afterAll(async () => {
      await bundles.remove();
      await sqs[Symbol.asyncDispose]();
      await s3.close();
    });

    function all(registry: TestRegistry): string {
      return `version: 1\nmirrors:\n  - source: ${registry.host}/team/app\n    tags: all\n`;
    }

    // A sandbox is killed in the middle of a layer, another runs into its timeout there, the registry answers 429 now
    // and then, and every third message comes twice: everything is mirrored all the same, once, and nothing is dead.
    test('whatever happens on the way, everything arrives', async () => {
      await using registry = await startRegistry();
      const expected: Record<string, Digest> = {};
      const layers = Array.from({ length: 8 }, (_, index) => makeLayer({ seed: index, size: 300_000 }));
      for (const [index, layer] of layers.entries())
        expected[`v${index}`] = registry.push(
          'team/app',
          makeImage({ layers: [makeLayer({ seed: 50 }), layer] }),
          `v${index}`,
        );
      const killed = registry.misbehave({ match: { digest: layers[0]!.digest }, times: 1, do: { stallAfter: 1000 } });
      const late = registry.misbehave({ match: { digest: layers[1]!.digest }, times: 1, do: { stallAfter: 1000 } });
      for (const kind of ['manifest', 'blob'] as const)
        registry.misbehave({
          match: { kind, method: 'GET' },
          after: 2,
          times: 3,
          do: { status: 429, headers: { 'retry-after': '1' }, body: errorBody('TOOMANYREQUESTS', 'later') },
        });
      let received = 0;
      await using stack = await Stack.start({
        bundles,
        sqs,
        s3,
        config: all(registry),
        layerTimeoutMs: 25_000,
        visibilitySeconds: 30,
        again: ({ attributes }) => attributes.ApproximateReceiveCount === '1' && (received += 1) % 3 === 0,
      });
      await stack.schedule('trouble');
      await killed.begun;
      stack.functions.layer.kill();
      await late.begun;
      await stack.drained();

      const read = await stack.archive.tagIndex(`${registry.host}/team/app`);
      const entries = read?.index.entries().map(({ tag, digest }) => [tag, digest]) ?? [];
      expect(entries).toHaveLength(layers.length);
      expect(Object.fromEntries(entries)).toEqual(expected);
      const verified = await verifyArchive(stack.archive, { signal: AbortSignal.timeout(60_000), concurrency: 2 });
      expect(verified.problems).toEqual([]);
      expect(stack.functions.layer.invocations.some(({ outcome }) => 'error' in outcome)).toBe(true);
      for (const queue of ['dead resolve', 'dead layer', 'dead finalize']) expect(stack.batches(queue)).toEqual([]);
    }, 180_000);

    // Every kind of poisoned image ends as a recorded failure with its reason, and holds nobody up.
    test('a poisoned image is a recorded failure, and no tag', async () => {
      await using registry = await startRegistry();
      const good = registry.push('team/app', makeImage({ layers: [makeLayer({ seed: 7 })] }), 'good');
      for (const [index, poison] of poisoned().entries()) poison.push(registry, 'team/app', `bad${index}`);
      const config = `${all(registry)}  - source: ${registry.host}/team/none\n    tags: all\n`;
      await using stack = await Stack.start({ bundles, sqs, s3, config });
      const { outcome } = await stack.schedule('poison');
      await stack.drained();

      const read = await stack.archive.tagIndex(`${registry.host}/team/app`);
      expect(read?.index.entries().map(({ tag, digest }) => [tag, digest])).toEqual([['good', good]]);
      const { run } = (outcome as { payload: { run: string } }).payload;
      const codes = Object.fromEntries(
        (await readRun(stack.archive, run)).map(({ reference, status, code }) => [
          reference.split(':').at(-1),
          code ?? status,
        ]),
      );
      const expected = Object.fromEntries(poisoned().map(({ code }, index) => [`bad${index}`, code]));
      // And of a repository that is not there, its name.
      const none = `${registry.host}/team/none`.split(':').at(-1) ?? '';
      expect(codes).toEqual({ good: 'mirrored', ...expected, [none]: 'name-unknown' });
      const told = stack.events
        .filter(({ type }) => type === 'Image Failed')
        .map(({ detail }) => [detail['tag'], detail['code']]);
      expect(Object.fromEntries(told)).toEqual({ ...expected, undefined: 'name-unknown' });
      for (const queue of ['dead resolve', 'dead layer', 'dead finalize']) expect(stack.batches(queue)).toEqual([]);
    }, 120_000);
  });
