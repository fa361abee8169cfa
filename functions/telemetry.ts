/** What a function tells of its work: one JSON line an event, and metrics in CloudWatch's embedded format. */
import { AsyncLocalStorage } from 'node:async_hooks';
import { Logger } from '@aws-lambda-powertools/logger';
import { Metrics, MetricUnit } from '@aws-lambda-powertools/metrics';
import type { Context, SQSRecord } from 'aws-lambda';
import type { Failure } from '../lib/base/failure.ts';
import type { BlobEvent, ImageEvent, ListedEvent, MirrorEvent } from '../lib/mirror/events.ts';
import type { Message } from '../lib/queue/messages.ts';
import { parseMessage } from '../lib/queue/parse.ts';
import type { SourcesOptions } from '../lib/registry/sources.ts';

const logger = new Logger();
const metrics = new Metrics();

type Keys = Readonly<Record<string, unknown>>;

/** What a line is about, wherever it is written: messages of several groups are handled side by side. */
const about = new AsyncLocalStorage<Keys>();

/** What is counted in an invocation, since a line for each would cost more than finding out. */
class Tally {
  /** Images found unchanged. */
  unchanged = 0;
  /** Bytes that came from registries, whatever became of them. */
  fetched = 0;
  /** By blob: when it was begun, in milliseconds, and the bytes of this attempt so far. */
  readonly begun = new Map<string, number>();
  readonly arrived = new Map<string, number>();
}

let tally = new Tally();

/** Runs an invocation's work between the beginning and the end of its telemetry. */
export async function observed<T>(context: Context, work: () => Promise<T>): Promise<T> {
  logger.addContext(context);
  tally = new Tally();
  try {
    return await work();
  } finally {
    const { unchanged, fetched } = tally;
    if (unchanged > 0) {
      log('info', 'unchanged', { images: unchanged });
      metrics.addMetric('ImagesUnchanged', MetricUnit.Count, unchanged);
    }
    if (fetched > 0) metrics.addMetric('BytesFetched', MetricUnit.Bytes, fetched);
    metrics.publishStoredMetrics();
  }
}

/** Handles messages of one lane (SQS's message group): each line that is written meanwhile says so, and of one, which it is. */
export function handling<T>(records: readonly SQSRecord[], work: () => Promise<T>): Promise<T> {
  const [record, ...others] = records;
  return about.run(record === undefined ? {} : keysOf(record, others.length === 0), work);
}

function keysOf({ attributes, messageId, body }: SQSRecord, alone: boolean): Keys {
  const lane = attributes.MessageGroupId;
  return alone ? { lane, messageId, ...messageKeys(body) } : { lane };
}

function messageKeys(body: string): Keys {
  let message: Message;
  try {
    message = parseMessage(body);
  } catch {
    return {};
  }
  const { run, source } = message;
  if (message.type === 'resolve') return { run, image: source };
  const blob = message.type === 'layer' ? { blob: message.blob.digest } : {};
  return { run, ...imageOf({ source, ...message.image }), ...blob };
}

export function observe(event: MirrorEvent): void {
  switch (event.type) {
    case 'image':
      onImage(event);
      return;
    case 'blob':
      onBlob(event);
      return;
    case 'listed':
      onListed(event);
      return;
    case 'resolved': {
      const { run, missing, missingBytes, fetchedBytes } = event;
      tally.fetched += fetchedBytes;
      log('info', 'resolved', { run, ...imageOf(event), missing, missingBytes, fetchedBytes });
      return;
    }
  }
}

/** A repository of which nothing is mirrored is most likely a mistake in the configuration. */
function onListed({ run, source, tags, upstream }: ListedEvent): void {
  if (upstream === undefined) log('info', 'listed', { run, image: source, tags: tags.length });
  else log('warn', 'no tags to mirror', { run, image: source, upstreamTags: upstream.count, some: upstream.some });
}

function onImage(event: ImageEvent): void {
  const { status, run, code, reason } = event;
  if (status === 'unchanged') {
    tally.unchanged += 1;
    return;
  }
  const entry = { run, ...imageOf(event), status, ...(code === undefined ? {} : { code, reason }) };
  if (status === 'failed') {
    log('error', 'image failed', entry);
    const metric = metrics.singleMetric();
    metric.addDimension('code', code ?? 'unknown');
    metric.addMetric('ImagesFailedByCode', MetricUnit.Count, 1);
    metrics.addMetric('ImagesFailed', MetricUnit.Count, 1);
  } else {
    log('info', `image ${status}`, entry);
    if (status === 'mirrored') metrics.addMetric('ImagesMirrored', MetricUnit.Count, 1);
  }
}

function onBlob(event: BlobEvent): void {
  const { phase, run, blob, size, fetched, reason } = event;
  if (phase === 'progress') {
    // Less than before is another attempt.
    const before = tally.arrived.get(blob) ?? 0;
    tally.fetched += fetched >= before ? fetched - before : fetched;
    tally.arrived.set(blob, fetched);
    return;
  }
  if (phase === 'started') {
    tally.begun.set(blob, Date.now());
    tally.arrived.delete(blob);
  }
  const entry = { run, ...imageOf(event), blob, size, fetched, ...(reason === undefined ? {} : { reason }) };
  log(phase === 'failed' ? 'error' : 'info', `blob ${phase}`, entry);
  if (phase === 'failed') metrics.addMetric('BlobsFailed', MetricUnit.Count, 1);
  if (phase !== 'stored' && phase !== 'continued') return;
  metrics.addMetric(phase === 'stored' ? 'BlobsStored' : 'BlobsContinued', MetricUnit.Count, 1);
  const since = tally.begun.get(blob);
  if (since !== undefined) metrics.addMetric('BlobDuration', MetricUnit.Milliseconds, Date.now() - since);
}

export const onRetry: NonNullable<SourcesOptions['onRetry']> = ({ failure, attempt, afterMs }) => {
  const { code, message, status } = failure;
  log('warn', 'retry', { code, reason: message, status, attempt, afterMs });
  metrics.addMetric('Retries', MetricUnit.Count, 1);
};

/** A message that is delivered again: why, and how often it has come so far. */
export function onFailedRecord(record: SQSRecord, failure: Failure): void {
  const { code, message, remedy } = failure;
  const receiveCount = record.attributes.ApproximateReceiveCount;
  log('warn', 'message failed', { ...keysOf(record, true), receiveCount, code, reason: message, remedy });
  metrics.addMetric('MessagesFailed', MetricUnit.Count, 1);
}

export function log(level: 'info' | 'warn' | 'error', message: string, entry: Keys): void {
  logger[level](message, { ...about.getStore(), ...entry });
}

interface Named {
  readonly source: string;
  readonly tag?: string | undefined;
  readonly digest?: string | undefined;
}

function imageOf({ source, tag, digest }: Named): Keys {
  return { image: tag === undefined ? source : `${source}:${tag}`, digest };
}
