/**
 * The error class of every error that this software throws on purpose. Code that decides (retry, restart, record) reads
 * its fields and never its message.
 */

import { withoutSentSecrets } from './redact.ts';
import { withoutUrlSecrets } from './secrets.ts';

/** The side where the fault lies: the upstream registry, the archive, a queue, or input from a user or a document. */
export type Side = 'source' | 'archive' | 'queue' | 'input';

/**
 * The remedy for a failure.
 *
 * - `retry`: repeat the operation after a wait (the whole `retryAfterMs` where the other side named one).
 * - `restart`: repeat the operation from the first byte, since the bytes kept so far cannot be trusted.
 * - `never`: a repetition gives the same result, so the failure is recorded at once.
 */
export type Remedy = 'retry' | 'restart' | 'never';

const REMEDIES = {
  // The other side, or the connection to it, had a temporary problem.
  network: 'retry',
  timeout: 'retry',
  stalled: 'retry',
  'rate-limited': 'retry',
  unavailable: 'retry',
  'token-expired': 'retry',
  truncated: 'retry',
  // The bytes fetched so far do not belong to the bytes that follow.
  'range-ignored': 'restart',
  'range-mismatch': 'restart',
  'source-changed': 'restart',
  'partial-too-long': 'restart',
  'digest-mismatch-resumed': 'restart',
  // The response is wrong, or it is a refusal.
  'digest-mismatch': 'never',
  'size-mismatch': 'never',
  'diffid-mismatch': 'never',
  'layers-mismatch': 'never',
  'not-as-declared': 'never',
  'too-large': 'never',
  'too-deep': 'never',
  // A quota that the operator set.
  'limit-exceeded': 'never',
  'no-platform': 'never',
  'blob-unknown': 'never',
  'manifest-unknown': 'never',
  'name-unknown': 'never',
  denied: 'never',
  unsupported: 'never',
  invalid: 'never',
  // The archive.
  'precondition-failed': 'retry',
  'no-such-upload': 'restart',
  corrupt: 'never',
  'no-space': 'never',
  io: 'retry',
  // This software: a bug, or a run that was stopped on request.
  aborted: 'retry',
  internal: 'retry',
} as const satisfies Record<string, Remedy>;

export type FailureCode = keyof typeof REMEDIES;

export interface FailureFields {
  /** The operation, as a verb with its object: `get manifest docker.io/library/alpine@sha256:…`. */
  readonly operation: string;
  readonly side: Side;
  readonly code: FailureCode;
  /** The problem and, where there is one, its remedy, as a sentence without its full stop. */
  readonly detail: string;
  /** HTTP status, if there was a response. */
  readonly status?: number | undefined;
  /** The wait that the other side asked for, in milliseconds; never shortened. */
  readonly retryAfterMs?: number | undefined;
  /** Overrides the remedy that the code implies, for the few cases where the circumstances change it. */
  readonly remedy?: Remedy | undefined;
  readonly cause?: unknown;
}

export class Failure extends Error {
  override readonly name = 'Failure';
  readonly operation: string;
  readonly side: Side;
  readonly code: FailureCode;
  readonly detail: string;
  readonly remedy: Remedy;
  readonly status: number | undefined;
  readonly retryAfterMs: number | undefined;

  constructor(fields: FailureFields) {
    const operation = withoutUrlSecrets(fields.operation);
    const detail = withoutSentSecrets(withoutUrlSecrets(fields.detail));
    super(`${operation}: ${detail}`, fields.cause === undefined ? undefined : { cause: fields.cause });
    this.operation = operation;
    this.side = fields.side;
    this.code = fields.code;
    this.detail = detail;
    this.remedy = fields.remedy ?? REMEDIES[fields.code];
    this.status = fields.status;
    this.retryAfterMs = fields.retryAfterMs;
  }

  /** The same failure, reported by the caller: with its operation, or with the side that a pure parser cannot know. */
  within(operation: string, side: Side = this.side): Failure {
    return new Failure({
      operation,
      side,
      code: this.code,
      detail: this.side === 'input' ? `${this.operation}: ${this.detail}` : this.detail,
      remedy: this.remedy,
      cause: this,
      status: this.status,
      retryAfterMs: this.retryAfterMs,
    });
  }
}

/** Shorthand for a value from a person or a document that cannot be used as it is. */
export function invalid(operation: string, detail: string): Failure {
  return new Failure({ operation, side: 'input', code: 'invalid', detail });
}

/**
 * Converts a thrown value to a Failure, and keeps one that is a Failure already. Aborts, timeouts and bugs get
 * different codes.
 */
export function asFailure(thrown: unknown, operation: string, side: Side): Failure {
  if (thrown instanceof Failure) return thrown;
  if (thrown instanceof Error && thrown.name === 'AbortError')
    return new Failure({ operation, side, code: 'aborted', detail: 'stopped on request', cause: thrown });
  // AbortSignal.timeout aborts with this error.
  if (thrown instanceof Error && thrown.name === 'TimeoutError')
    return new Failure({ operation, side, code: 'timeout', detail: 'timed out', cause: thrown });
  const detail = thrown instanceof Error ? thrown.message : String(thrown);
  return new Failure({ operation, side, code: 'internal', detail, cause: thrown });
}
