import type { IncomingHttpHeaders } from 'undici/types/header.js';
import { asFailure, Failure, type FailureCode } from '../core/failure.ts';
import { parseRetryAfter } from '../core/http/time.ts';
import { isRecord, readJsonObject } from '../core/json.ts';
import { textOf } from '../core/untyped.ts';
import { quote } from '../oci/show.ts';
import { redact } from '../core/redact.ts';
import { inWords } from './http/duration.ts';

/** The requested kind of content, which determines the meaning of a 404 without an error code. */
export type Subject = 'manifest' | 'blob' | 'tags' | 'token';

export interface ErrorResponse {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** The body or its start; empty for HEAD. */
  readonly body: string;
}

export interface RefusalContext {
  readonly operation: string;
  /** The host that responded, with its port. */
  readonly host: string;
  readonly subject: Subject;
  /** The current time as from `Date.now()`, because a Retry-After may be a date. */
  readonly now: number;
  /** Appended to a denial: the credentials that were used, or the places that were searched. */
  readonly hint?: string | undefined;
}

/** The meaning of a registry's error codes (OCI distribution spec 1.1, "Error Codes"). */
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

/** Maps an error response to a Failure. The status determines the remedy, and the registry's error code the problem. */
export function refusal(answer: ErrorResponse, context: RefusalContext): Failure {
  const { status, headers } = answer;
  const { operation, host, subject, now, hint } = context;
  const errors = registryErrors(answer.body);
  const code = codeOf(status, errors, subject);
  const detail = [`${host} answered ${describe(answer, errors)}`];
  if (code === 'denied' && hint !== undefined) detail.push(hint);
  if (code === 'rate-limited') for (const remark of rateLimit(headers)) detail.push(remark);
  const retryAfterMs = parseRetryAfter(headers['retry-after'], now);
  if (retryAfterMs !== undefined) detail.push(`retry after ${inWords(retryAfterMs)}`);
  return new Failure({ operation, side: 'source', code, detail: detail.join('; '), status, retryAfterMs });
}

function codeOf(status: number, errors: readonly RegistryError[], subject: Subject): FailureCode {
  const named = errors.map(({ code }) => CODES.get(code)).find((code) => code !== undefined);
  // Some registries send a rate limit as a 403 or a 503, so the error code decides.
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

/** The errors in the JSON body of a registry or a token service; empty for any other body. */
export function registryErrors(body: string): readonly RegistryError[] {
  const json = readJsonObject(body);
  if (json === undefined) return [];
  if (Array.isArray(json['errors']))
    return json['errors']
      .filter(isRecord)
      .map((error) => ({ code: textOf(error['code']), message: textOf(error['message']) }));
  // The formats of OAuth 2 (RFC 6749, section 5.2) and of Docker Hub's token service.
  const code = textOf(json['error']);
  const message = textOf(json['error_description']) || textOf(json['details']) || textOf(json['message']);
  return code === '' && message === '' ? [] : [{ code, message }];
}

function describe(answer: ErrorResponse, errors: readonly RegistryError[]): string {
  if (errors.length > 0) {
    const texts = errors.map(({ code, message }) => [code, message].filter((part) => part !== '').join(': '));
    return `${answer.status} ${quote(redact(texts.join(', ')))}`;
  }
  return answer.body.trim() === '' ? String(answer.status) : `${answer.status} "${quote(redact(answer.body))}"`;
}

/** Docker Hub sends `ratelimit-limit: 100;w=21600` and `ratelimit-remaining: 0;w=21600`: pulls per number of seconds. */
function rateLimit(headers: IncomingHttpHeaders): string[] {
  const [, limit, seconds] = /^(\d+);w=(\d+)/.exec(textOf(headers['ratelimit-limit'])) ?? [];
  if (limit === undefined || seconds === undefined) return [];
  const [left] = /^\d+/.exec(textOf(headers['ratelimit-remaining'])) ?? [];
  const remaining = left === undefined ? '' : `, ${left} left`;
  return [
    `the limit is ${limit} pulls per ${Number(seconds) / 3600} h${remaining}; it is usually higher with credentials`,
  ];
}

/** The failure after an abort; the signal's reason if that is a Failure. */
export function stopped(operation: string, signal?: AbortSignal): Failure {
  const reason: unknown = signal?.reason;
  if (reason instanceof Failure) return reason;
  return new Failure({ operation, side: 'source', code: 'aborted', detail: 'stopped on request', cause: reason });
}

/** Maps anything thrown to a Failure of the source. */
export function sourceFailure(thrown: unknown, operation: string, signal?: AbortSignal): Failure {
  if (thrown instanceof Failure) return thrown;
  return signal?.aborted === true ? stopped(operation, signal) : asFailure(thrown, operation, 'source');
}
