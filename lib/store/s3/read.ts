import type { Readable } from 'node:stream';
import { GetObjectCommand, HeadObjectCommand } from '@aws-sdk/client-s3';
import type { HeadObjectCommandOutput } from '@aws-sdk/client-s3';
import { Failure } from '../../core/failure.ts';
import { parseContentRange } from '../../core/http/content.ts';
import type { FailureCode } from '../../core/failure.ts';
import { beforeRetry } from '../../core/retry.ts';
import { bodyOf } from '../body.ts';
import type { Cancel, ReadableObject, StoredBytes } from '../store.ts';
import { type Calls, strong } from './calls.ts';

/** An open object. It holds a connection until its body has been iterated or cancelled. */
export interface OpenObject extends ReadableObject {
  cancel(): void;
}

interface Answer {
  readonly stream: Readable;
  /** The bytes of the whole object; undefined if the response has no length, which some proxies remove. */
  readonly size: number | undefined;
  readonly etag: string;
}

type Opened = Omit<OpenObject, 'size'> & Pick<Answer, 'size'>;

interface OpenOptions extends Cancel {
  readonly start: number;
  /** Sends a Range even for the first byte, because its response names the size of the object. */
  readonly ranged?: boolean;
  /** A version that is not wanted: for it, S3 answers 304, which is a Failure with that status. */
  readonly unless?: string | undefined;
}

/** Opens the object with the full key `key` at byte `start`, as `open`. Costs a second request without a length. */
export async function openObject(
  calls: Calls,
  key: string,
  options: { readonly start: number } & Cancel,
): Promise<OpenObject | undefined> {
  for (const ranged of [false, true]) {
    const opened = await open(calls, key, { ...options, ranged });
    if (opened === undefined) return undefined;
    const { size } = opened;
    if (size !== undefined) return { ...opened, size };
    opened.cancel();
  }
  throw calls.failure('GetObject', key, 'not-as-declared', 'the response has no Content-Length');
}

/**
 * Opens the object with the full key `key` at byte `start`. The body resumes after a broken connection. It fails if it ends
 * too early, or with `source-changed` if the object has changed.
 */
// eslint-disable-next-line max-lines-per-function -- a body and its retries share their state
async function open(
  calls: Calls,
  key: string,
  { start, ranged = false, unless, signal }: OpenOptions,
): Promise<Opened | undefined> {
  const fail = (code: FailureCode, detail: string): Failure => calls.failure('GetObject', key, code, detail);

  const request = async (from: number, etag?: string): Promise<Answer> => {
    const answer = await calls.run('GetObject', key, signal, (client, options) =>
      client.send(
        new GetObjectCommand({
          Bucket: calls.bucket,
          Key: key,
          ...(from > 0 || ranged ? { Range: `bytes=${from}-` } : {}),
          ...(etag === undefined ? {} : { IfMatch: etag }),
          ...(etag === undefined && unless !== undefined ? { IfNoneMatch: unless } : {}),
        }),
        options,
      ),
    );
    const stream = answer.Body as Readable;
    const refuse = (code: FailureCode, detail: string): never => {
      stream.destroy();
      throw fail(code, detail);
    };
    if (answer.ETag === undefined) return refuse('not-as-declared', 'the response has no ETag');
    if (from === 0 && answer.ContentRange === undefined)
      return { stream, size: answer.ContentLength, etag: strong(answer.ETag) };
    const { bytes, total: size } = parseContentRange(answer.ContentRange) ?? {};
    if (bytes === undefined || size === undefined)
      return refuse('range-ignored', `expected the bytes from ${from}, got no Content-Range`);
    if (bytes.start !== from || bytes.end !== size)
      return refuse('range-mismatch', `expected the bytes from ${from}, got ${answer.ContentRange}`);
    return { stream, size, etag: strong(answer.ETag) };
  };

  const first = await request(start).catch(undefinedIfMissing);
  if (first === undefined) return undefined;
  const { etag, stream: opened, size: total } = first;

  async function* body(): AsyncGenerator<Uint8Array, void, undefined> {
    let stream = opened;
    let size = total;
    let at = start;
    // Consecutive tries without a byte; the number of interruptions with progress is unlimited.
    let failures = 0;
    for (;;) {
      try {
        for await (const chunk of stream as AsyncIterable<Uint8Array>) {
          at += chunk.byteLength;
          failures = 0;
          if (size !== undefined && at > size)
            throw fail('not-as-declared', `the body is longer than the ${size} bytes of the object`);
          yield chunk;
        }
        if (size === undefined || at === size) return;
        throw fail('truncated', `the body ended after ${at} of ${size} bytes`);
      } catch (error) {
        failures += 1;
        await beforeRetry(broken(error), failures, calls.retries('GetObject', key, signal));
      }
      const rest = await request(at, etag).catch((error: unknown) => {
        if (error instanceof Failure && (error.code === 'precondition-failed' || error.code === 'blob-unknown'))
          throw fail(
            'source-changed',
            `the object was replaced or deleted after ${at}${size === undefined ? '' : ` of ${size}`} bytes were read`,
          );
        throw error;
      });
      stream = rest.stream;
      size ??= rest.size;
    }
  }

  /** Any unknown error of a body is a network error, after which the body resumes. */
  const broken = (error: unknown): Failure => {
    const failure = calls.retries('GetObject', key, signal).failureOf(error);
    return failure.code === 'internal' ? fail('network', failure.detail) : failure;
  };

  const cancel = (): void => void opened.destroy();
  return { etag, size: total, body: bodyOf(body(), cancel), cancel };
}

/** The bytes of the object with the full key `key`; see `open`. Refuses (`too-large`) instead of truncating. */
export async function readWhole(
  calls: Calls,
  key: string,
  options: { readonly maxBytes: number; readonly unless?: string } & Cancel,
): Promise<StoredBytes | undefined> {
  const { maxBytes, signal, unless } = options;
  const reading = await open(calls, key, { start: 0, unless, signal });
  if (reading === undefined) return undefined;
  const tooLarge = (got: number | string): Failure => {
    const detail = `the object is too large: expected at most ${maxBytes} bytes, got ${got}`;
    return calls.failure('GetObject', key, 'too-large', detail);
  };
  const { size, etag } = reading;
  if (size !== undefined && size > maxBytes) {
    reading.cancel();
    throw tooLarge(size);
  }
  let bytes = new Uint8Array(size ?? FIRST_BYTES);
  let at = 0;
  for await (const chunk of reading.body) {
    const end = at + chunk.byteLength;
    if (end > maxBytes) throw tooLarge('more');
    if (end > bytes.length) bytes = grown(bytes, Math.min(2 * end, maxBytes));
    bytes.set(chunk, at);
    at = end;
  }
  return { bytes: bytes.subarray(0, at), size: at, etag };
}

/** The memory for an object of unknown size before its first bytes have arrived. */
const FIRST_BYTES = 64 * 1024;

function grown(bytes: Uint8Array, length: number): Uint8Array<ArrayBuffer> {
  const larger = new Uint8Array(length);
  larger.set(bytes);
  return larger;
}

/** HeadObject for a full key, optionally with its checksum; `undefined` if the object does not exist. */
export function headObject(
  calls: Calls,
  key: string,
  signal: AbortSignal | undefined,
  checksum = false,
): Promise<HeadObjectCommandOutput | undefined> {
  const input = { Bucket: calls.bucket, Key: key, ...(checksum ? { ChecksumMode: 'ENABLED' as const } : {}) };
  return calls
    .run('HeadObject', key, signal, (client, options) => client.send(new HeadObjectCommand(input), options))
    .catch(undefinedIfMissing);
}

/** For `catch`: the result for an object that does not exist. */
function undefinedIfMissing(error: unknown): undefined {
  if (!(error instanceof Failure) || error.code !== 'blob-unknown') throw error;
}
