import type { SQSEvent } from 'aws-lambda';
import { runName } from '../lib/sync/reports.ts';
import { Place } from '../lib/oci/document.ts';

/** The event of a resolver invocation. */
export type Request =
  | { readonly kind: 'batch'; readonly batch: SQSEvent }
  /** A run of the whole configuration. */
  | { readonly kind: 'schedule'; readonly run: string }
  /** A manual `{"references": […]}`, which `ordersFor` parses. */
  | { readonly kind: 'references'; readonly run: string; readonly request: object };

/** A request for a run. */
export type StartRequest = Exclude<Request, { kind: 'batch' }>;

/** A clock may be fast, and a person may take local time for UTC. */
const MAX_AHEAD_MS = 24 * 3_600_000;

const EXAMPLE = 'it is {"references": ["docker.io/library/alpine:3.20"]}';

/** Far above the batch size of any queue. */
const MAX_RECORDS = 10_000;

/**
 * Parses an event. Retries have the same run id: Scheduler repeats the scheduled time (but not the execution id), and Lambda
 * the request id of an asynchronous invocation.
 *
 * @param now milliseconds since the epoch
 * @throws Failure `invalid` with the name of the field
 */
export function readRequest(event: unknown, requestId: string, now: number = Date.now()): Request {
  const root = new Place('read request', '', event);
  if (typeof event !== 'object' || event === null || Array.isArray(event))
    throw root.fail(`it is not an object; ${EXAMPLE}`);
  const { Records, schedule, references, ...others } = event as Record<string, unknown>;
  const kinds = Object.entries({ Records, schedule, references }).filter(([, value]) => value !== undefined);
  if (kinds.length > 1) throw root.fail(`${kinds.map(([name]) => name).join(' and ')} cannot be combined; ${EXAMPLE}`);
  const [unknown] = Object.keys(others);
  if (unknown !== undefined) throw root.fail(`${JSON.stringify(unknown)} is not known; ${EXAMPLE}`);
  if (Records !== undefined) return { kind: 'batch', batch: batchOf(root.at('Records'), event) };
  if (schedule !== undefined) return { kind: 'schedule', run: runOf(root.at('schedule'), now) };
  return { kind: 'references', run: `request-${requestId}`, request: event };
}

function batchOf(records: Place, event: object): SQSEvent {
  for (const record of records.list(MAX_RECORDS)) {
    for (const field of ['messageId', 'receiptHandle', 'body']) record.at(field).text();
    record.at('attributes').texts();
  }
  return event as SQSEvent;
}

/** `{"arn": "arn:…:schedule/default/mirror-sync-prod", "time": "2026-01-31T00:00:00Z"}` */
function runOf(schedule: Place, now: number): string {
  const name = schedule.at('arn').text().split('/').at(-1) ?? '';
  if (!/^[\w.-]+$/.test(name)) throw schedule.at('arn').fail('must be the ARN of a schedule');
  const time = timeOf(schedule.at('time'));
  if (time > now + MAX_AHEAD_MS) throw schedule.at('time').fail('must not be more than a day in the future');
  for (const key of Object.keys(schedule.object()))
    if (key !== 'arn' && key !== 'time') throw schedule.at(key).fail('is not known');
  return runName(time, name);
}

/** `Date.parse` accepts other forms, and takes February 30 for March 2. */
function timeOf(place: Place): number {
  const text = place.text();
  const time = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{3})?Z$/.test(text) ? Date.parse(text) : NaN;
  if (Number.isNaN(time) || !new Date(time).toISOString().startsWith(text.slice(0, 19)))
    throw place.fail('must be a time, as 2026-01-31T00:00:00Z');
  return time;
}
