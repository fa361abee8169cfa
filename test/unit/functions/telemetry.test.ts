import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, test } from 'vitest';
import { metricsIn, saidIn } from '../../kit/lambda/told.ts';
import { digestFor, IMAGE, ORDER } from '../queue/samples.ts';

/** Errors go to another stream, so only the order within each stream is known. */
let lines: string[];

beforeAll(async () => {
  const child = join(import.meta.dirname, 'telemetry.child.ts');
  const env = {
    ...process.env,
    POWERTOOLS_SERVICE_NAME: 'sample',
    POWERTOOLS_METRICS_NAMESPACE: 'MirrorSync',
    AWS_LAMBDA_FUNCTION_MEMORY_SIZE: '512',
  };
  const { stdout, stderr } = await promisify(execFile)(process.execPath, [child], { env });
  lines = `${stdout}${stderr}`.split('\n');
});

describe('the log', () => {
  test('has the message of each line, even for concurrent lanes', () => {
    const about = { run: ORDER.run, image: `${ORDER.source}:3.20`, digest: IMAGE.digest, blob: digestFor('blob') };
    const ofFirst = saidIn(lines).filter(
      (line) => line['function_request_id'] === 'request-1' && line['message'] !== 'cost',
    );
    for (const line of ofFirst) expect(line).toMatchObject(about);
    const byLane = Object.groupBy(ofFirst, ({ lane }) => String(lane));
    const told = Object.entries(byLane).map(([lane, some = []]) => [
      lane,
      some.map(({ message }) => message).toSorted(),
    ]);
    expect(Object.fromEntries(told)).toEqual({
      'docker.io#1': ['blob failed', 'blob started', 'blob stored', 'retry'],
      'docker.io#2': ['blob started', 'message failed', 'retry'],
    });
    for (const some of Object.values(byLane)) expect(new Set(some?.map(({ messageId }) => messageId)).size).toBe(1);
  });

  test('escapes control and format characters of foreign text', () => {
    const [failed] = saidIn(lines).filter(({ message }) => message === 'image failed');
    expect(failed).toMatchObject({ reason: 'no \\u009b\\u202e\\u007f' });
    for (const line of lines) expect(line).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u);
  });

  test('keeps nothing for the next invocation', () => {
    const ofSecond = saidIn(lines).filter((line) => line['function_request_id'] === 'request-2');
    const told = ofSecond.map(({ message }) => message).toSorted();
    expect(told).toEqual(['image failed', 'image mirrored', 'resolved', 'unchanged', 'unchanged']);
    for (const line of ofSecond) {
      expect(line).not.toHaveProperty('lane');
      expect(line).not.toHaveProperty('messageId');
    }
  });

  test('counts unchanged images by run and repository', () => {
    const unchanged = saidIn(lines).filter(({ message }) => message === 'unchanged');
    expect(unchanged.map(({ run, repository, images }) => [run, repository, images])).toEqual([
      [ORDER.run, ORDER.repository, 1],
      ['run-2', ORDER.repository, 1],
    ]);
  });

  test('counts images that an earlier run has queued', () => {
    const queued = saidIn(lines).filter(({ message }) => message === 'queued by an earlier run');
    expect(queued.map(({ run, repository, images }) => [run, repository, images])).toEqual([
      ['run-3', ORDER.repository, 1],
    ]);
  });

  test('has the cost of each run in an invocation', () => {
    const costs = saidIn(lines).filter(({ message }) => message === 'cost');
    expect(costs).toMatchObject([
      { run: ORDER.run, gbSeconds: expect.any(Number), bytes: 60 + 60 + 100 },
      { run: 'run-3', gbSeconds: expect.any(Number), bytes: 0 },
    ]);
  });

  test('has a refused configuration as an error, with line and column', () => {
    const ofThird = saidIn(lines).filter(({ level }) => level === 'ERROR');
    expect(ofThird.map(({ message, reason, then }) => [message, reason, then])).toContainEqual([
      'configuration refused',
      'read configuration: mirror.yaml:3:5: mirrors[0].tgas is not known',
      'the last valid one stays in use',
    ]);
    expect(ofThird.map(({ message, reason, then }) => [message, reason, then])).toContainEqual([
      'configuration not read',
      'read secret: later',
      'the work waits for a valid one',
    ]);
  });

  test('has what an alarm counts as an error, so that each log level keeps its reason', () => {
    const counted = ['image failed', 'message failed', 'configuration refused'];
    const levels = saidIn(lines).filter(({ message }) => counted.includes(String(message)));
    expect(new Set(levels.map(({ level, message }) => `${String(level)} ${String(message)}`))).toEqual(
      new Set(counted.map((message) => `ERROR ${message}`)),
    );
  });

  test('has no warning about an invocation without metrics', () => {
    expect(lines.join('\n')).not.toMatch(/No application metrics|reserved key/);
  });
});

// The alarms read exactly these names and dimensions.
test.each(['ConfigurationRefused', 'RunsStarted', 'ImagesFailed', 'BlobsFailed', 'MessagesFailed', 'MessageAge'])(
  'the metric %s is in the namespace MirrorSync, with the dimension service alone',
  (name) => {
    const embedded = lines.flatMap((line) => (line.includes('"_aws"') ? [JSON.parse(line) as Embedded] : []));
    const found = embedded.filter(({ _aws }) =>
      _aws.CloudWatchMetrics.some(({ Metrics }) => Metrics.some(({ Name }) => Name === name)),
    );
    expect(found.length).toBeGreaterThan(0);
    for (const { _aws, service } of found) {
      expect(service).toBe('sample');
      expect(_aws.CloudWatchMetrics).toMatchObject([{ Namespace: 'MirrorSync', Dimensions: [['service']] }]);
    }
  },
);

interface Embedded {
  readonly service: string;
  readonly _aws: {
    readonly CloudWatchMetrics: readonly { readonly Metrics: readonly { readonly Name: string }[] }[];
  };
}

// Fruitless bytes count as well: 60 bytes before a restart, those of a failed layer, and manifests.
test('the metrics count bytes, blobs, durations, retries, and failures by reason', () => {
  const { BlobDuration, MessageAge, ...counts } = metricsIn(lines);
  // The time of the first send is longer ago than that of the copy.
  expect(MessageAge).toBeGreaterThan(7 * 3_600 - 1);
  expect(MessageAge).toBeLessThan(8 * 3_600);
  expect(BlobDuration).toEqual(expect.any(Number));
  expect(counts).toEqual({
    BytesFetched: 60 + 60 + 100 + 7,
    BlobsStored: 1,
    BlobsFailed: 1,
    Retries: 2,
    MessagesFailed: 1,
    ImagesUnchanged: 2,
    ImagesMirrored: 1,
    ImagesFailed: 1,
    'ImagesFailedByCode denied': 1,
    ConfigurationRefused: 1,
    RunsStarted: 1,
    ImagesQueued: 1,
  });
});
