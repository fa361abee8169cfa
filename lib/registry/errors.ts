import type { IncomingHttpHeaders } from 'undici/types/header.js';
import { asFailure, Failure, type FailureCode } from '../core/failure.ts';
import { readJson } from '../core/json.ts';
import { quote } from '../oci/show.ts';
import { redact } from './auth/redact.ts';
import { inWords } from './http/duration.ts';

/** What was asked for: decides what a 404 without the registry's own error code means. */
export type Subject = 'manifest' | 'blob' | 'tags' | 'token';

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** The body, or its beginning; empty for HEAD. */
  readonly body: string;
}

export interface Circumstances {
  readonly operation: string;
  /** Who answered: a host with its port. */
  readonly host: string;
  readonly subject: Subject;
  /** The time, as `Date.now()` gives it; a Retry-After may be a date. */
  readonly now: number;
  /** Said behind a denial: where credentials were looked for, and whether there were any. */
  readonly hint?: string | undefined;
}

/** How much of an error's body is read at all. */
export const ERROR_BODY_BYTES = 64 * 1024;

/** What the registry's own error codes mean here (OCI distribution spec 1.1, "Error Codes"). */
const CODES: ReadonlyMap<string, FailureCode> = new Map(
  Object.entries({
    TOOMANYREQUESTS: 'rate-limited',
    BLOB_UNKNOWN: 'blob-unknown',
    MANIFEST_BLOB_UNKNOWN: 'blob-unknown',
    MANIFEST_UNKNOWN: 'manifest-unknown',
    TAG_INVALID: 'manifest-unknown',
    NAME_UNKNOWN: 'name-unknown',
    NAME_INVALID: 'name-unknown',
    UNAUTHORIZED: 'denied',
    DENIED: 'denied',
    UNSUPPORTED: 'unsupported',
  } satisfies Record<string, FailureCode>),
);

const UNKNOWN: Readonly<Record<Subject, FailureCode>> = {
  manifest: 'manifest-unknown',
  blob: 'blob-unknown',
  tags: 'name-unknown',
  token: 'denied',
};

/** An answer that was not hoped for, as a Failure: the status says what mends it, the registry's code says what is wrong. */
export function refusal(answer: Answer, circumstances: Circumstances): Failure {
  const { operation, host, subject, now, hint } = circumstances;
  const errors = registryErrors(answer.body);
  const code = codeOf(answer.status, errors, subject);
  const detail = [`${host} answered ${describe(answer, errors)}`];
  if (code === 'denied' && hint !== undefined) detail.push(hint);
  if (code === 'rate-limited') detail.push(...rateLimit(answer.headers));
  const after = retryAfterMs(answer.headers['retry-after'], now);
  if (after !== undefined) detail.push(`asks to wait ${inWords(after)}`);
  return new Failure({
    operation,
    side: 'source',
    code,
    detail: detail.join('; '),
    status: answer.status,
    ...(after === undefined ? {} : { retryAfterMs: after }),
  });
}

function codeOf(status: number, errors: readonly RegistryError[], subject: Subject): FailureCode {
  const named = errors.map(({ code }) => CODES.get(code)).find((code) => code !== undefined);
  // Some registries rate-limit with a 403 or a 503: what they call it decides.
  if (status === 429 || named === 'rate-limited') return 'rate-limited';
  if (status === 408) return 'timeout';
  if (status === 501 || status === 505) return 'unsupported';
  if (status >= 500 || status === 425) return 'unavailable';
  if (status === 401 || status === 403 || status === 407 || status === 451) return 'denied';
  if (status === 416) return 'range-mismatch';
  if (named !== undefined) return named;
  if (status === 404 || status === 410) return UNKNOWN[subject];
  if (status === 405 || status === 406 || status === 415) return 'unsupported';
  return 'invalid';
}

export interface RegistryError {
  readonly code: string;
  readonly message: string;
}

/** The errors in a registry's or a token service's JSON body; none where it is something else. */
export function registryErrors(body: string): readonly RegistryError[] {
  let json: unknown;
  try {
    json = readJson(body);
  } catch {
    return [];
  }
  if (!isRecord(json)) return [];
  if (Array.isArray(json['errors']))
    return json['errors']
      .filter(isRecord)
      .map((error) => ({ code: text(error['code']), message: text(error['message']) }));
  // OAuth 2 (RFC 6749, section 5.2), and what Docker Hub's token service says.
  const code = text(json['error']);
  const message = text(json['error_description']) || text(json['details']) || text(json['message']);
  return code === '' && message === '' ? [] : [{ code, message }];
}

function describe(answer: Answer, errors: readonly RegistryError[]): string {
  if (errors.length > 0) {
    const told = errors.map(({ code, message }) => [code, message].filter((part) => part !== '').join(': '));
    return `${answer.status} ${quote(redact(told.join(', ')))}`;
  }
  return answer.body.trim() === '' ? String(answer.status) : `${answer.status} "${quote(redact(answer.body))}"`;
}

/** Docker Hub says `ratelimit-limit: 100;w=21600` and `ratelimit-remaining: 0;w=21600`: how many pulls in how many seconds. */
function rateLimit(headers: IncomingHttpHeaders): string[] {
  const [, limit, seconds] = /^(\d+);w=(\d+)/.exec(text(headers['ratelimit-limit'])) ?? [];
  if (limit === undefined || seconds === undefined) return [];
  const [left] = /^\d+/.exec(text(headers['ratelimit-remaining'])) ?? [];
  const told = `its limit is ${limit} pulls in ${Number(seconds) / 3600} h`;
  return [`${told}${left === undefined ? '' : `, ${left} left`}; with credentials it is usually higher`];
}

/** A longer wait is as good as none that ends: a year, in milliseconds. */
const MAX_RETRY_AFTER_MS = 365 * 24 * 3_600_000;

/** RFC 9110, section 10.2.3: seconds, or an HTTP date. In milliseconds from `now`, never negative, and a year at most. */
export function retryAfterMs(header: string | string[] | undefined, now: number): number | undefined {
  const value = text(Array.isArray(header) ? header[0] : header).trim();
  if (/^\d+(\.\d+)?$/.test(value)) return Math.min(Math.ceil(Number(value) * 1000), MAX_RETRY_AFTER_MS);
  const date = value === '' ? Number.NaN : Date.parse(value);
  return Number.isNaN(date) ? undefined : Math.min(Math.max(0, date - now), MAX_RETRY_AFTER_MS);
}

/** That something was stopped on request, or why it was where the caller said so with a Failure. */
export function stopped(operation: string, signal?: AbortSignal): Failure {
  const reason: unknown = signal?.reason;
  if (reason instanceof Failure) return reason;
  return new Failure({
    operation,
    side: 'source',
    code: 'aborted',
    detail: 'stopped on request',
    ...(reason === undefined ? {} : { cause: reason }),
  });
}

/** Anything thrown below, as this room's Failure. */
export function sourceFailure(thrown: unknown, operation: string, signal?: AbortSignal): Failure {
  if (thrown instanceof Failure) return thrown;
  return signal?.aborted === true ? stopped(operation, signal) : asFailure(thrown, operation, 'source');
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}
