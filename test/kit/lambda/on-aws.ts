import { afterAll, beforeAll, describe } from 'vitest';
import { type S3Server, startS3Server } from '../s3-server.ts';
import { type SqsServer, startElasticMq, startFauxSqs } from '../sqs-server.ts';
import type { TempFolder } from '../temp.ts';
import { buildBundles, Stack, type StackOptions } from './stack.ts';
import { skippedFor } from '../skipped.ts';

/** What the functions run on here, for all tests of a file. */
export interface OnAws {
  readonly s3: S3Server;
  readonly sqs: SqsServer;
  /** A stack of its own: queues, bucket and functions. Whoever starts it disposes of it. */
  readonly start: (options: Omit<StackOptions, 'bundles' | 's3' | 'sqs'>) => Promise<Stack>;
}

/**
 * Tests of what is deployed: the built bundles, a real S3 server, and ElasticMQ (fauxqs where there is no Java). Where there
 * is no S3 server they are skipped, and say so.
 */
export async function describeOnAws(title: string, tests: (aws: OnAws) => void): Promise<void> {
  const s3 = await startS3Server();
  if ('skipped' in s3) {
    describe(title, () => {
      skippedFor(s3.skipped);
    });
    return;
  }
  const elasticMq = await startElasticMq();
  const sqs = 'skipped' in elasticMq ? await startFauxSqs() : elasticMq;
  describe(`${title}: the bundles, ${'skipped' in elasticMq ? 'fauxqs' : 'ElasticMQ'}, real S3`, () => {
    let bundles: TempFolder;

    beforeAll(async () => {
      bundles = await buildBundles();
    });

    afterAll(async () => {
      await bundles.remove();
      await sqs[Symbol.asyncDispose]();
      await s3.close();
    });

    tests({ s3, sqs, start: (options) => Stack.start({ bundles, sqs, s3, ...options }) });
  });
}
