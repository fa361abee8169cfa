import { setTimeout as wait } from 'node:timers/promises';
import type { S3Client } from '@aws-sdk/client-s3';
import type { Failure } from '../../core/failure.ts';
import { decide } from '../../core/retry.ts';
import type { RetryPolicy } from '../../core/retry.ts';
import { toFailure } from './failure.ts';
import type { Operation } from './failure.ts';

/** One request, sent with `options` through `client`. */
export type Send<T> = (client: S3Client, options: { readonly abortSignal?: AbortSignal }) => Promise<T>;

/**
 * Sends requests, again where that may help, and counts them. The SDK's own retries are not used: they shorten a
 * Retry-After, and an abort during a wait leaves its timer behind.
 */
export class Calls {
  readonly bucket: string;
  readonly policy: RetryPolicy;
  /** Whether bodies are sent with checksum headers, which some stores refuse. */
  readonly checksums: boolean;
  readonly #connect: () => Promise<S3Client>;
  #client: Promise<S3Client> | undefined;
  readonly #counts = new Map<Operation, number>();

  /** The client is made at the first request, so that an archive that is only named costs nothing. */
  constructor(bucket: string, connect: () => Promise<S3Client>, policy: RetryPolicy, checksums: boolean) {
    this.bucket = bucket;
    this.policy = policy;
    this.checksums = checksums;
    this.#connect = connect;
  }

  /** @throws Failure, after the last try; with code `aborted` as soon as `signal` is aborted */
  async run<T>(operation: Operation, key: string, signal: AbortSignal | undefined, send: Send<T>): Promise<T> {
    const deed = { operation, bucket: this.bucket, key };
    for (let attempt = 1; ; attempt += 1) {
      try {
        signal?.throwIfAborted();
        const client = await (this.#client ??= this.#connect());
        signal?.throwIfAborted();
        this.#counts.set(operation, (this.#counts.get(operation) ?? 0) + 1);
        return await send(client, signal === undefined ? {} : { abortSignal: signal });
      } catch (error) {
        const failure = toFailure(error, deed, signal);
        await this.pause(failure, attempt, signal, deed.operation);
      }
    }
  }

  /** Waits until it is time to try again, or throws `failure` where that is pointless. */
  async pause(failure: Failure, attempt: number, signal: AbortSignal | undefined, operation: Operation): Promise<void> {
    const decision = mayMendItself(failure, operation) && decide(failure, attempt, this.policy, Math.random());
    if (decision === false || !decision.again) throw failure;
    try {
      await wait(decision.afterMs, undefined, signal === undefined ? {} : { signal });
    } catch (error) {
      throw toFailure(error, { operation, bucket: this.bucket, key: '' }, signal);
    }
  }

  /** Requests sent so far, those that failed and were tried again included. */
  counts(): Record<string, number> {
    return Object.fromEntries(this.#counts);
  }

  async close(): Promise<void> {
    (await this.#client?.catch(() => undefined))?.destroy();
  }
}

/** Whether the very same request may succeed; what must be read again or begun again is the caller's to decide. */
function mayMendItself(failure: Failure, operation: Operation): boolean {
  // S3 asks to repeat a PutObject that another write crossed, but to begin anew after a CompleteMultipartUpload.
  // https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
  if (failure.code === 'precondition-failed') return failure.status === 409 && operation === 'PutObject';
  return failure.remedy === 'retry' && failure.code !== 'internal';
}
