/** The telemetry of a function: one JSON line per event, and metrics in CloudWatch's embedded metric format. */
import { AsyncLocalStorage } from 'node:async_hooks';
import { Logger } from '@aws-lambda-powertools/logger';
import { Metrics, MetricUnit } from '@aws-lambda-powertools/metrics';
import type { Context, SQSRecord } from 'aws-lambda';
import { defined } from '../lib/core/defined.ts';
import type { Failure } from '../lib/core/failure.ts';
import type { BlobEvent, ImageEvent, ListedEvent, MirrorEvent } from '../lib/sync/events.ts';
import type { RunSummary } from '../lib/sync/run/summary.ts';
import { printable } from '../lib/oci/show.ts';
import type { Message } from '../lib/queue/messages.ts';
import { parseMessage } from '../lib/queue/parse.ts';
import type { SourcesOptions } from '../lib/registry/sources.ts';
import type { FillResult } from '../lib/serve/fill.ts';
import type { Served } from '../lib/serve/served.ts';
import { MissingConfiguration } from './kept.ts';
import { Tally } from './tally.ts';
import { firstSent } from './waiting.ts';

/** JSON does not escape DEL, C1 and format characters, which log viewers interpret. */
const logger = new Logger({ jsonReplacerFn: (_, value) => (typeof value === 'string' ? printable(value) : value) });
const metrics = new Metrics();

type Keys = Readonly<Record<string, unknown>>;

/** The keys of all log lines of a message; messages of several groups are handled concurrently. */
const about = new AsyncLocalStorage<Keys>();

let tally = new Tally(0);

/** Runs an invocation's work with telemetry. */
export async function observed<T>(context: Context, work: () => Promise<T>): Promise<T> {
  logger.addContext(context);
  tally = new Tally(Date.now());
  try {
    return await work();
  } finally {
    publish();
  }
}

function publish(): void {
  for (const { kind, images, ...repository } of tally.idleImages) {
    log('info', kind === 'queued' ? 'queued by an earlier run' : kind, { ...repository, images });
    metrics.addMetric(kind === 'queued' ? 'ImagesQueued' : 'ImagesUnchanged', MetricUnit.Count, images);
  }
  const memory = Number(process.env['AWS_LAMBDA_FUNCTION_MEMORY_SIZE'] ?? 0);
  for (const cost of tally.costs(Date.now(), memory)) log('info', 'cost', { ...cost });
  const { bytes } = tally;
  if (bytes > 0) metrics.addMetric('BytesFetched', MetricUnit.Bytes, bytes);
  // Powertools warns about an invocation without metrics.
  if (metrics.hasStoredMetrics()) metrics.publishStoredMetrics();
}

/** Reports a run's start, after its messages are in the queue. */
export function runStarted(run: string, requestId: string, counts: Keys): void {
  tally.handled(run, requestId);
  log('info', 'run started', { run, ...counts });
  metrics.addMetric('RunsStarted', MetricUnit.Count, 1);
}

/** Reports the end of a run, after its summary was delivered. */
export function runFinished({ run, outcome, by, started, counts, moved, missing }: RunSummary): void {
  const entry = { run, by, started, moved, ...counts, ...(missing === undefined ? {} : { missing }) };
  log(outcome === 'finished' ? 'info' : 'error', `run ${outcome}`, entry);
  metrics.addMetric(outcome === 'finished' ? 'RunsFinished' : 'RunsIncomplete', MetricUnit.Count, 1);
}

/** Reports an image that an earlier run has queued. */
export function leftOut({ run, repository }: ImageEvent): void {
  tally.idle(run, repository, 'queued');
}

/** Reports images without the attestation that a policy requires. */
export function onNotAttested({ code, message }: Failure, repository: string): void {
  log('error', 'not attested', { repository, code, reason: message });
  metrics.addMetric('ImagesNotAttested', MetricUnit.Count, 1);
}

/** Reports a configuration or a secret that cannot be read or is invalid. */
export function onRefused(failure: Failure, keptLast: boolean): void {
  // A scheduled run without a configuration is not an error, and waiting messages are reported one by one.
  if (failure instanceof MissingConfiguration && !keptLast) return;
  const { code, message, remedy } = failure;
  const entry = {
    code,
    reason: message,
    then: keptLast ? 'the last valid one stays in use' : 'the work waits for a valid one',
  };
  // If S3 or Secrets Manager is unavailable, the configuration may be valid. A missing permission lasts until a person adds it.
  if (remedy !== 'never') {
    log(keptLast ? 'warn' : 'error', 'configuration not read', entry);
    return;
  }
  log('error', 'configuration refused', entry);
  metrics.addMetric('ConfigurationRefused', MetricUnit.Count, 1);
}

/**
 * Handles messages of one lane (SQS's message group). All log lines contain the lane, and those about one message its
 * id.
 */
export function handling<T>(records: readonly SQSRecord[], work: () => Promise<T>): Promise<T> {
  const [record, ...others] = records;
  for (const { body, messageId } of records) {
    const run = messageKeys(body)['run'];
    if (typeof run === 'string') tally.handled(run, messageId);
  }
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
      tally.fetched(run, fetchedBytes);
      log('info', 'resolved', { run, ...imageOf(event), missing, missingBytes, fetchedBytes });
      return;
    }
  }
}

/** A repository without tags to mirror is probably a configuration error. */
function onListed({ run, source, tags, upstream }: ListedEvent): void {
  if (upstream === undefined) log('info', 'listed', { run, image: source, tags: tags.length });
  else log('warn', 'no tags to mirror', { run, image: source, upstreamTags: upstream.count, some: upstream.some });
}

/** Counts an image by its state. */
function countImage(status: ImageEvent['status']): void {
  if (status === 'mirrored') metrics.addMetric('ImagesMirrored', MetricUnit.Count, 1);
  if (status === 'held') metrics.addMetric('ImagesHeld', MetricUnit.Count, 1);
  if (status === 'unverified') metrics.addMetric('ImagesUnverified', MetricUnit.Count, 1);
  if (status === 'drifted') metrics.addMetric('ImagesDrifted', MetricUnit.Count, 1);
  if (status === 'rejected') metrics.addMetric('ImagesRejected', MetricUnit.Count, 1);
}

/** A referrer that cannot be mirrored does not fail its image, and raises no alarm. */
function onReferrer(event: ImageEvent): void {
  const { run, status, code, reason, referrer } = event;
  const entry = { run, ...imageOf(event), status, of: referrer?.root, ...defined({ code, reason }) };
  log(status === 'failed' ? 'warn' : 'info', 'referrer', entry);
}

function onImage(event: ImageEvent): void {
  const { status, run, repository, current, until, code, reason, notes } = event;
  if (event.referrer !== undefined) {
    onReferrer(event);
    return;
  }
  if (status === 'unchanged') {
    tally.idle(run, repository, 'unchanged');
    return;
  }
  const failure = code === undefined ? {} : { code, reason };
  const entry = { run, ...imageOf(event), status, ...failure, ...defined({ current, until, notes }) };
  if (status === 'failed') {
    log('error', 'image failed', entry);
    const metric = metrics.singleMetric();
    metric.addDimension('code', code ?? 'unknown');
    metric.addMetric('ImagesFailedByCode', MetricUnit.Count, 1);
    metrics.addMetric('ImagesFailed', MetricUnit.Count, 1);
  } else {
    log('info', `image ${status}`, entry);
    countImage(status);
  }
}

function onBlob(event: BlobEvent): void {
  const { phase, run, blob, size, fetched, reason } = event;
  if (phase === 'progress') {
    tally.progress(event);
    return;
  }
  if (phase === 'started') tally.begin(blob, Date.now());
  const entry = { run, ...imageOf(event), blob, size, fetched, ...(reason === undefined ? {} : { reason }) };
  log(phase === 'failed' ? 'error' : 'info', `blob ${phase}`, entry);
  if (phase === 'failed') metrics.addMetric('BlobsFailed', MetricUnit.Count, 1);
  if (phase !== 'stored' && phase !== 'continued') return;
  metrics.addMetric(phase === 'stored' ? 'BlobsStored' : 'BlobsContinued', MetricUnit.Count, 1);
  const since = tally.begun(blob);
  if (since !== undefined) metrics.addMetric('BlobDuration', MetricUnit.Milliseconds, Date.now() - since);
}

export const onRetry: NonNullable<SourcesOptions['onRetry']> = ({ failure, attempt, afterMs }) => {
  const { code, message, status } = failure;
  log('warn', 'retry', { code, reason: message, status, attempt, afterMs });
  metrics.addMetric('Retries', MetricUnit.Count, 1);
};

/** A request to the registry, with its response. */
export interface Request {
  readonly client: string;
  readonly method: string;
  readonly target: string;
  readonly status: number;
  readonly bytes: number;
  /** The result of an order for a missing tag. */
  readonly order: FillResult | undefined;
  readonly ms: number;
}

/** Reports who pulled what. A redirect's URL grants access to an object, so no line contains one. */
export function onServed({ user, kind, isMiss, redirectedBytes }: Served, { target, ...request }: Request): void {
  log('info', 'request', { user, ...request, target: target.slice(0, 1_000), kind, redirectedBytes });
  metrics.addMetric('RegistryRequests', MetricUnit.Count, 1);
  if (isMiss) metrics.addMetric('RegistryMisses', MetricUnit.Count, 1);
  if (request.order === 'ordered') metrics.addMetric('RegistryOrders', MetricUnit.Count, 1);
  // A client that misses an image gets a 404 also if the image cannot be ordered.
  if (request.status >= 500 || request.order === 'failed') metrics.addMetric('RegistryErrors', MetricUnit.Count, 1);
  if (redirectedBytes > 0) metrics.addMetric('RegistryBytesRedirected', MetricUnit.Bytes, redirectedBytes);
}

/**
 * Reports a message that is delivered again, with the reason and the number of deliveries. Only failures are counted. SQS knows the age of
 * the last copy of a message only, so each message is reported with the time since it was first sent.
 */
export function onFailedRecord(record: SQSRecord, failure: Failure, waits = false): void {
  const isMissing = failure instanceof MissingConfiguration;
  if (isMissing) metrics.addMetric('ConfigurationRefused', MetricUnit.Count, 1);
  // A failure that an alarm counts is an error, so that each log level keeps its reason.
  log(waits && !isMissing ? 'warn' : 'error', waits ? 'message waits' : 'message failed', recordKeys(record, failure));
  if (!waits) metrics.addMetric('MessagesFailed', MetricUnit.Count, 1);
  const age = Math.round((Date.now() - firstSent(record)) / 1_000);
  if (Number.isFinite(age)) metrics.addMetric('MessageAge', MetricUnit.Seconds, age);
}

/** Reports a dead letter that could not be recorded; a person has to handle it. */
export function onLostRecord(record: SQSRecord, failure: Failure): void {
  log('error', 'dead letter not recorded', recordKeys(record, failure));
  metrics.addMetric('MessagesFailed', MetricUnit.Count, 1);
}

function recordKeys(record: SQSRecord, { code, message, remedy }: Failure): Keys {
  const receiveCount = record.attributes.ApproximateReceiveCount;
  return { ...keysOf(record, true), receiveCount, code, reason: message, remedy };
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
