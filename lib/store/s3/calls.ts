import { setTimeout as wait } from 'node:timers/promises';
import type { S3Client } from '@aws-sdk/client-s3';
import { Failure, type FailureCode } from '../../core/failure.ts';
import { decide, type Retries, retrying, type RetryPolicy } from '../../core/retry.ts';
import { toFailure } from './failure.ts';
import type { Operation } from './failure.ts';

interface CallOptions {
  readonly abortSignal?: AbortSignal;
}

type Send<T> = (client: S3Client, options: CallOptions) => Promise<T>;

/**
 * Sends, retries and counts requests. The SDK's own retries are off, because they shorten a Retry-After and leave a timer
 * running when a wait is aborted.
 */
export class Calls {
  readonly bucket: string;
  readonly policy: RetryPolicy;
  /** Whether bodies have checksum headers, which some stores refuse. */
  readonly checksums: boolean;
  readonly #connect: () => Promise<S3Client>;
  #client: Promise<S3Client> | undefined;
  readonly #counts = new Map<Operation, number>();

  /** The client is created at the first request. */
  constructor(bucket: string, connect: () => Promise<S3Client>, policy: RetryPolicy, checksums: boolean) {
    this.bucket = bucket;
    this.policy = policy;
    this.checksums = checksums;
    this.#connect = connect;
  }

  /** @throws Failure, after the last try; with code `aborted` as soon as `signal` is aborted */
  async run<T>(operation: Operation, key: string, signal: AbortSignal | undefined, send: Send<T>): Promise<T> {
    return retrying(
      async () => {
        signal?.throwIfAborted();
        const client = await this.client();
        signal?.throwIfAborted();
        this.count(operation);
        return send(client, signal === undefined ? {} : { abortSignal: signal });
      },
      this.retries(operation, key, signal),
    );
  }

  /**
   * Requests the pages of a listing, each after the `last` one. A page without `IsTruncated` was truncated in transit, and
   * would look like an empty one.
   */
  async *pages<P extends { readonly IsTruncated?: boolean | undefined }>(
    operation: Operation,
    key: string,
    signal: AbortSignal | undefined,
    send: (client: S3Client, options: CallOptions, last: P | undefined) => Promise<P>,
  ): AsyncGenerator<P, void, void> {
    let last: P | undefined;
    do {
      last = await this.run(operation, key, signal, async (client, options) => {
        const page = await send(client, options, last);
        required(page.IsTruncated, operation, 'IsTruncated');
        return page;
      });
      yield last;
    } while (last.IsTruncated === true);
  }

  client(): Promise<S3Client> {
    return (this.#client ??= this.#connect());
  }

  retries(operation: Operation, key: string, signal: AbortSignal | undefined): Retries {
    const failureOf = (error: unknown): Failure => toFailure(error, { operation, bucket: this.bucket, key }, signal);
    return {
      failureOf,
      decide: (failure, attempt) =>
        mayRetry(failure) ? decide(failure, attempt, this.policy, Math.random()) : { again: false },
      wait: (ms) =>
        wait(ms, undefined, { signal }).catch((error: unknown) => {
          throw failureOf(error);
        }),
    };
  }

  /** A failure that the store itself finds. */
  failure(operation: Operation, key: string, code: FailureCode, detail: string, cause?: unknown): Failure {
    return new Failure({ operation: `${operation} s3://${this.bucket}/${key}`, side: 'archive', code, detail, cause });
  }

  count(operation: Operation): void {
    this.#counts.set(operation, (this.#counts.get(operation) ?? 0) + 1);
  }

  /** The number of requests so far, including failed tries. */
  counts(): Record<string, number> {
    return Object.fromEntries(this.#counts);
  }

  async close(): Promise<void> {
    (await this.#client?.catch(() => undefined))?.destroy();
  }
}

/**
 * Whether the same request may succeed later. The caller decides whether to read or upload from the start again, and what an
 * unmet condition means.
 */
function mayRetry({ code, remedy }: Failure): boolean {
  return remedy === 'retry' && code !== 'internal' && code !== 'precondition-failed';
}

/** A field that every response body has; without it the body is truncated, and `Calls.run` retries the request. */
export function required<T>(value: T | undefined, operation: string, field: string): T {
  if (value !== undefined) return value;
  const detail = `the response has no ${field}`;
  throw new Failure({ operation, side: 'archive', code: 'truncated', detail });
}

/** A field that S3 always sends, although the SDK's type is optional. */
export function present<T>(value: T | undefined, operation: string, field: string): T {
  if (value !== undefined) return value;
  throw new Failure({ operation, side: 'archive', code: 'not-as-declared', detail: `the response has no ${field}` });
}

/**
 * The ETag of a response, as the store compares it in conditions. A proxy that changes a body marks the ETag as weak, and a
 * weak one meets no If-Match (RFC 9110, section 13.1.1).
 */
export function strong(etag: string): string {
  return etag.replace(/^W\//, '');
}
