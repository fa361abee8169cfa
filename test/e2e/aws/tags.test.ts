import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { counting, type Counting } from '../../kit/counting.ts';
import { knownTags } from '../../kit/known-tags.ts';
import { buildBundles, Stack } from '../../kit/lambda/stack.ts';
import { startRegistry, type TestRegistry } from '../../kit/registry.ts';
import { startS3Server } from '../../kit/s3-server.ts';
import { startElasticMq, startFauxSqs } from '../../kit/sqs-server.ts';
import type { TempFolder } from '../../kit/temp.ts';
import { skippedFor } from '../../kit/skipped.ts';

const TAGS = 10_000;
const SLICES = TAGS / 100;
const PAGES = TAGS / 1_000;

const SQS = new Set(['SendMessageBatch', 'ReceiveMessage', 'DeleteMessageBatch', 'GetQueueAttributes']);

/** Milliseconds: a twentieth of resolverTimeout in serverless.yml. */
const SHARE_MS = 180_000 / 20;

const s3 = await startS3Server();
const elasticMq = 'skipped' in s3 ? s3 : await startElasticMq();
const sqs = 'skipped' in elasticMq ? await startFauxSqs() : elasticMq;

if ('skipped' in s3)
  describe('on AWS, ten thousand tags', () => {
    skippedFor(s3.skipped);
  });
else
  describe(`on AWS, ten thousand tags of one repository (${'skipped' in elasticMq ? 'fauxqs' : 'ElasticMQ'})`, () => {
    let bundles: TempFolder;
    let registry: TestRegistry;
    let counted: Counting;
    let stack: Stack;

    beforeAll(async () => {
      bundles = await buildBundles();
      registry = await startRegistry();
      counted = await counting(s3, sqs);
      const source = `${registry.host}/team/app`;
      const config = `version: 1\nmirrors:\n  - source: ${source}\n    tags: all\n`;
      stack = await Stack.start({ bundles, sqs: counted.sqs, s3: counted.s3, config });
      await knownTags(registry, stack.archive, 'team/app', TAGS);
    });

    afterAll(async () => {
      await stack[Symbol.asyncDispose]();
      await counted[Symbol.asyncDispose]();
      await registry.close();
      await bundles.remove();
      await sqs[Symbol.asyncDispose]();
      await s3.close();
    });

    test('cost one HEAD each and few other requests if they are unchanged', async () => {
      counted.forget();
      await stack.schedule('unchanged');
      await stack.drained();
      const counts = { ...counted.counts };

      expect(registry.count({ kind: 'manifest', method: 'HEAD' })).toBe(TAGS);
      expect(registry.count({ kind: 'tags', method: 'GET' })).toBe(PAGES);
      expect(registry.requests).toHaveLength(TAGS + PAGES);

      // S3: the tag index per slice, and the configuration per sandbox and minute. The start of the run is written twice: for
      // the status, and for the end of the run. Each message leaves one record.
      const { GetObject = 0 } = counts;
      expect(GetObject).toBeGreaterThanOrEqual(SLICES + 1);
      expect(GetObject).toBeLessThanOrEqual(SLICES + 10);
      expect(counts['PutObject']).toBe(2 + 1 + SLICES);
      expect(Object.keys(ofS3(counts)).toSorted()).toEqual(['GetObject', 'PutObject']);

      // SQS: ten slices per batch, and one batch for the order to list; each message is received and deleted by
      // itself.
      expect(counts['SendMessageBatch']).toBe(SLICES / 10 + 1);
      expect(counts['DeleteMessageBatch']).toBe(SLICES + 1);
      expect(stack.batches('resolve')).toHaveLength(SLICES + 1);
      for (const queue of ['layer', 'finalize', 'dead resolve']) expect(stack.batches(queue)).toEqual([]);
    });

    test('are counted in the summary and in the event of the run, although nothing has changed', async () => {
      counted.forget();
      const { outcome } = await stack.functions.runs.invoke({});
      expect(outcome).toEqual({ payload: { closed: 1 } });
      const counts = { mirrored: 0, unchanged: TAGS, failed: 0 };
      const detail = { by: 'schedule', outcome: 'finished', counts, moved: 0, images: [], notable: true };
      expect(stack.events.filter(({ type }) => type === 'Run Finished')).toMatchObject([{ detail }]);
      // Two listings (the open runs, and the reports), the start, the missing summary and the records; two writes of the summary.
      expect(counted.counts).toMatchObject({ ListObjectsV2: 2, GetObject: SLICES + 1 + 2, PutObject: 2 });
      counted.forget();
      expect((await stack.functions.runs.invoke({})).outcome).toEqual({ payload: { closed: 0 } });
      expect(ofS3(counted.counts)).toEqual({ ListObjectsV2: 1 });
    });

    test('are divided over invocations of similar duration and memory', () => {
      const { invocations } = stack.functions.resolver;
      expect(invocations).toHaveLength(1 + 1 + SLICES);
      expect(invocations.filter(({ outcome }) => 'error' in outcome)).toEqual([]);
      expect(Math.max(...invocations.map(({ durationMs }) => durationMs))).toBeLessThan(SHARE_MS);
      // The peaks of two sandboxes never fall, so their memory is known after half of the work.
      const peaks = invocations.map(({ peakBytes = 0 }) => peakBytes);
      const half = Math.max(...peaks.slice(0, peaks.length / 2));
      // (Garbage that is not collected yet counts as well.)
      expect(Math.max(...peaks) / half).toBeLessThan(1.25);
      expect(Math.max(...peaks)).toBeLessThan(256e6);
    });
  });

/** The event source mappings poll their queues at any time, so only the counts of S3 are exact. */
function ofS3(counts: Readonly<Record<string, number>>): Record<string, number> {
  return Object.fromEntries(Object.entries(counts).filter(([operation]) => !SQS.has(operation)));
}
