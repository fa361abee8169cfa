/** What a function tells of its work: one JSON line an event, and metrics in CloudWatch's embedded format. */
import { Logger } from '@aws-lambda-powertools/logger';
import { Metrics, MetricUnit } from '@aws-lambda-powertools/metrics';
import type { Context, SQSRecord } from 'aws-lambda';
import type { Failure } from '../lib/base/failure.ts';
import type { BlobEvent, ImageEvent, MirrorEvent } from '../lib/mirror/events.ts';
import type { SourcesOptions } from '../lib/registry/sources.ts';

const logger = new Logger();
const metrics = new Metrics();

/** Runs an invocation's work between the beginning and the end of its telemetry. */
export async function observed<T>(context: Context, work: () => Promise<T>): Promise<T> {
  logger.addContext(context);
  unchanged = 0;
  try {
    return await work();
  } finally {
    if (unchanged > 0) {
      logger.info('unchanged', { images: unchanged });
      metrics.addMetric('ImagesUnchanged', MetricUnit.Count, unchanged);
    }
    metrics.publishStoredMetrics();
  }
}

/** Images found unchanged in this invocation: counted, since a line for each would cost more than finding out. */
let unchanged = 0;

/** When each blob of this sandbox was begun, in milliseconds. */
const begun = new Map<string, number>();

export function observe(event: MirrorEvent): void {
  switch (event.type) {
    case 'image':
      onImage(event);
      return;
    case 'blob':
      onBlob(event);
      return;
    case 'listed':
      logger.info('listed', { run: event.run, image: event.source, tags: event.tags.length });
      return;
    case 'resolved': {
      const { run, missing, missingBytes, fetchedBytes } = event;
      logger.info('resolved', { run, ...imageOf(event), missing, missingBytes, fetchedBytes });
      return;
    }
  }
}

function onImage(event: ImageEvent): void {
  const { status, run, code, reason } = event;
  if (status === 'unchanged') {
    unchanged += 1;
    return;
  }
  const entry = { run, ...imageOf(event), status, ...(code === undefined ? {} : { code, reason }) };
  if (status === 'failed') {
    logger.error('image failed', entry);
    const metric = metrics.singleMetric();
    metric.addDimension('code', code ?? 'unknown');
    metric.addMetric('ImagesFailedByCode', MetricUnit.Count, 1);
    metrics.addMetric('ImagesFailed', MetricUnit.Count, 1);
  } else {
    logger.info(`image ${status}`, entry);
    if (status === 'mirrored') metrics.addMetric('ImagesMirrored', MetricUnit.Count, 1);
  }
}

function onBlob(event: BlobEvent): void {
  const { phase, run, blob, size, fetched, reason } = event;
  if (phase === 'progress') return;
  if (phase === 'started') begun.set(blob, Date.now());
  const entry = { run, ...imageOf(event), blob, size, fetched, ...(reason === undefined ? {} : { reason }) };
  if (phase === 'failed') logger.error('blob failed', entry);
  else logger.info(`blob ${phase}`, entry);
  if (phase !== 'stored' && phase !== 'continued' && phase !== 'failed') return;
  const since = begun.get(blob);
  begun.delete(blob);
  if (phase === 'failed') return;
  metrics.addMetric('BytesFetched', MetricUnit.Bytes, fetched);
  if (phase === 'continued') metrics.addMetric('BlobsContinued', MetricUnit.Count, 1);
  else metrics.addMetric('BlobsStored', MetricUnit.Count, 1);
  if (since !== undefined) metrics.addMetric('BlobDuration', MetricUnit.Milliseconds, Date.now() - since);
}

export const onRetry: NonNullable<SourcesOptions['onRetry']> = ({ failure, attempt, afterMs }) => {
  const { code, message, status } = failure;
  logger.warn('retry', { code, reason: message, status, attempt, afterMs });
  metrics.addMetric('Retries', MetricUnit.Count, 1);
};

/** A message that is delivered again: why, and how often it has come so far. */
export function onFailedRecord(record: SQSRecord, failure: Failure): void {
  const { code, message, remedy } = failure;
  logger.warn('message failed', {
    lane: record.attributes.MessageGroupId,
    messageId: record.messageId,
    receiveCount: record.attributes.ApproximateReceiveCount,
    code,
    reason: message,
    remedy,
  });
  metrics.addMetric('MessagesFailed', MetricUnit.Count, 1);
}

export function log(level: 'info' | 'warn' | 'error', message: string, entry: Readonly<Record<string, unknown>>): void {
  logger[level](message, entry);
}

function imageOf({ source, tag, digest }: ImageEvent | BlobEvent | Extract<MirrorEvent, { type: 'resolved' }>): object {
  return { image: tag === undefined ? source : `${source}:${tag}`, digest };
}
