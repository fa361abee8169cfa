/**
 * The one error that this software throws on purpose. It says what was being done, on which side, what is wrong, and
 * what a caller may do about it; everything that decides (retry, restart, record) reads those fields and never a message.
 */

/** Where the fault lies: the upstream registry, the archive, a queue, or what the user or a document said. */
export type Side = 'source' | 'archive' | 'queue' | 'input';

/**
 * What mends it.
 * - `retry`: the same again, after a wait (`retryAfterMs` in full where the other side named one).
 * - `restart`: the same again, but from the first byte: what was kept so far cannot be trusted.
 * - `never`: the same again gives the same answer; it is recorded at once.
 */
export type Remedy = 'retry' | 'restart' | 'never';

const REMEDIES = {
  // The other side, or the way to it, was not well.
  network: 'retry',
  timeout: 'retry',
  stalled: 'retry',
  'rate-limited': 'retry',
  unavailable: 'retry',
  'token-expired': 'retry',
  truncated: 'retry',
  // What was fetched so far does not belong to what comes now.
  'range-ignored': 'restart',
  'range-mismatch': 'restart',
  'source-changed': 'restart',
  'partial-too-long': 'restart',
  'digest-mismatch-resumed': 'restart',
  // The answer itself is wrong, or is a no.
  'digest-mismatch': 'never',
  'size-mismatch': 'never',
  'diffid-mismatch': 'never',
  'layers-mismatch': 'never',
  'not-as-declared': 'never',
  'too-large': 'never',
  'too-deep': 'never',
  // A quota of the operator.
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
  // Ours: a bug, or a run that was told to stop.
  aborted: 'retry',
  internal: 'retry',
} as const satisfies Record<string, Remedy>;

export type FailureCode = keyof typeof REMEDIES;

export interface FailureFields {
  /** What was being done, as a verb with its object: `get manifest docker.io/library/alpine@sha256:…`. */
  readonly operation: string;
  readonly side: Side;
  readonly code: FailureCode;
  /** What is wrong and, where there is one, the remedy, in a sentence without its full stop. */
  readonly detail: string;
  /** HTTP status, where there was an answer. */
  readonly status?: number;
  /** How long the other side asked to be left alone, in milliseconds; never shortened. */
  readonly retryAfterMs?: number;
  /** Overrides the remedy that the code implies, for the few cases where the circumstances change it. */
  readonly remedy?: Remedy;
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
    super(`${fields.operation}: ${fields.detail}`, fields.cause === undefined ? undefined : { cause: fields.cause });
    this.operation = fields.operation;
    this.side = fields.side;
    this.code = fields.code;
    this.detail = fields.detail;
    this.remedy = fields.remedy ?? REMEDIES[fields.code];
    this.status = fields.status;
    this.retryAfterMs = fields.retryAfterMs;
  }

  /** The same failure seen from one level up: another operation, or the side that a pure parser could not know. */
  within(operation: string, side: Side = this.side): Failure {
    return new Failure({
      operation,
      side,
      code: this.code,
      detail: this.side === 'input' ? `${this.operation}: ${this.detail}` : this.detail,
      remedy: this.remedy,
      cause: this,
      ...(this.status === undefined ? {} : { status: this.status }),
      ...(this.retryAfterMs === undefined ? {} : { retryAfterMs: this.retryAfterMs }),
    });
  }
}

/** Shorthand for a value that a person or a document gave and that cannot be used as it is. */
export function invalid(operation: string, detail: string): Failure {
  return new Failure({ operation, side: 'input', code: 'invalid', detail });
}

/** Anything that was thrown, as a Failure: what is one already is kept; an abort, the end of its time, and a bug are told apart. */
export function asFailure(thrown: unknown, operation: string, side: Side): Failure {
  if (thrown instanceof Failure) return thrown;
  if (thrown instanceof Error && thrown.name === 'AbortError')
    return new Failure({ operation, side, code: 'aborted', detail: 'stopped on request', cause: thrown });
  // What AbortSignal.timeout aborts with.
  if (thrown instanceof Error && thrown.name === 'TimeoutError')
    return new Failure({ operation, side, code: 'timeout', detail: 'the time for it was over', cause: thrown });
  const detail = thrown instanceof Error ? thrown.message : String(thrown);
  return new Failure({ operation, side, code: 'internal', detail, cause: thrown });
}
