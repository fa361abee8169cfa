import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, test } from 'vitest';
import { metricsIn, saidIn } from '../../kit/lambda/told.ts';
import { digestFor, IMAGE, ORDER } from '../queue/samples.ts';

/** Errors are written to another stream, so the order of lines is that of each. */
let lines: string[];

beforeAll(async () => {
  const child = join(import.meta.dirname, 'telemetry.child.ts');
  const env = { ...process.env, POWERTOOLS_SERVICE_NAME: 'sample', POWERTOOLS_METRICS_NAMESPACE: 'MirrorSync' };
  const { stdout, stderr } = await promisify(execFile)(process.execPath, [child], { env });
  lines = `${stdout}${stderr}`.split('\n');
});

describe('the log', () => {
  // Two lanes are at work at once, and what each says is told apart.
  test('says of each line which message it is about', () => {
    const about = { run: ORDER.run, image: `${ORDER.source}:3.20`, digest: IMAGE.digest, blob: digestFor('blob') };
    const ofFirst = saidIn(lines).filter((line) => line['function_request_id'] === 'request-1');
    for (const line of ofFirst) expect(line).toMatchObject(about);
    const byLane = Object.groupBy(ofFirst, ({ lane }) => String(lane));
    const told = Object.entries(byLane).map(([lane, some = []]) => [
      lane,
      some.map(({ message }) => message).toSorted(),
    ]);
    expect(Object.fromEntries(told)).toEqual({
      'docker.io#1': ['blob started', 'blob stored', 'retry'],
      'docker.io#2': ['blob started', 'message failed', 'retry'],
    });
    for (const some of Object.values(byLane)) expect(new Set(some?.map(({ messageId }) => messageId)).size).toBe(1);
  });

  test('keeps nothing for the next invocation', () => {
    const ofSecond = saidIn(lines).filter((line) => line['function_request_id'] === 'request-2');
    const told = ofSecond.map(({ message }) => message).toSorted();
    expect(told).toEqual(['image failed', 'image mirrored', 'resolved', 'unchanged']);
    for (const line of ofSecond) {
      expect(line).not.toHaveProperty('lane');
      expect(line).not.toHaveProperty('messageId');
    }
  });
});

// Also what was fetched in vain costs: the 60 bytes before a new beginning, those of a layer that failed, manifests.
test('the metrics count bytes, blobs, durations, retries, and failures by reason', () => {
  const { BlobDuration, ...counts } = metricsIn(lines);
  expect(BlobDuration).toEqual(expect.any(Number));
  expect(counts).toEqual({
    BytesFetched: 60 + 60 + 100 + 7,
    BlobsStored: 1,
    Retries: 2,
    MessagesFailed: 1,
    ImagesUnchanged: 1,
    ImagesMirrored: 1,
    ImagesFailed: 1,
    'ImagesFailedByCode denied': 1,
  });
});
