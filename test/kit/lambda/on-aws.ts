import { afterAll, beforeAll, describe } from 'vitest';
import { type S3Server, startS3Server } from '../s3-server.ts';
import { type SqsServer, startElasticMq, startFauxSqs } from '../sqs-server.ts';
import type { TempFolder } from '../temp.ts';
import { buildBundles, Stack, type StackOptions } from './stack.ts';
import { skippedFor } from '../skipped.ts';

/** The servers of the functions, for all tests of a file. */
export interface OnAws {
  readonly s3: S3Server;
  readonly sqs: SqsServer;
  /** A separate stack of queues, a bucket and functions. The caller disposes of it. */
  readonly start: (options: Omit<StackOptions, 'bundles' | 's3' | 'sqs'>) => Promise<Stack>;
}

/**
 * Tests of the deployment: the built bundles, a real S3 server, and ElasticMQ (fauxqs without Java). Without an S3 server
 * they are skipped with the reason.
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
