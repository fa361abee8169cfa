import { parseContentLength, parseContentRange } from '../../core/http/content.ts';
import { Pieces } from '../../core/pieces.ts';
import { pipeline, Readable, type Transform } from 'node:stream';
import { Failure } from '../../core/failure.ts';
import { type Coding, codingsOf, decoder, TOO_MANY_CODINGS } from './encoding.ts';
import type { Reply, ReplyBody } from './message.ts';
import { bufferedBody } from './short.ts';

/** Blobs up to this size are buffered when only the number of bytes shows whether they are encoded. */
const SMALL_BYTES = 4 * 1024 * 1024;

export interface CodingContext {
  readonly operation: string;
  /** The bytes of the blob, if they are known. */
  readonly size: number | undefined;
  /** Whether an earlier response has shown that the blob is encoded. */
  readonly isKnown: boolean;
  /** Called when a body without a length shows whether the blob is encoded. */
  readonly learn: (isEncoded: boolean) => void;
}

/**
 * Removes content codings that a server applied although the request accepts only `identity`. Many stores label a gzip
 * layer with `Content-Encoding: gzip` and send its bytes unchanged, so the length decides whether the body is encoded.
 * Without a length, the body of a large blob must be received first. If its number of bytes is wrong, the body throws
 * a failure that restarts the blob.
 *
 * @returns undefined for a range of the encoded form; then the whole blob must be requested
 */
export async function withoutCodings(reply: Reply, context: CodingContext): Promise<Reply | undefined> {
  const { operation, size, isKnown } = context;
  const codings = codingsOf(reply.headers);
  if (codings?.length === 0 || size === undefined || reply.status === 416) return reply;
  const total = totalOf(reply);
  if (total === size) return reply;
  if (codings === undefined) {
    reply.body.cancel();
    const detail = `${reply.url.host} ${TOO_MANY_CODINGS}`;
    throw new Failure({ operation, side: 'source', code: 'invalid', detail, status: reply.status });
  }
  if (total !== undefined || isKnown) {
    if (reply.status === 200) {
      const plain = decoded(reply, operation, codings);
      return total === undefined ? counted(plain, size, context) : plain;
    }
    reply.body.cancel();
    return undefined;
  }
  if (reply.status !== 200) return reply;
  if (size > SMALL_BYTES) return counted(reply, size, context);
  const whole = await wholeOf(reply.body, size);
  const body = bufferedBody(whole);
  return whole.length === size ? { ...reply, body } : decoded({ ...reply, body }, operation, codings);
}

function totalOf({ status, headers }: Reply): number | undefined {
  if (status === 206) return parseContentRange(headers['content-range'])?.total;
  return parseContentLength(headers['content-length']);
}

/** Drops the length and the ETag, which describe the encoded form. */
function decoded(reply: Reply, operation: string, codings: readonly Coding[]): Reply {
  const { 'content-length': _, etag: __, ...headers } = reply.headers;
  return { ...reply, headers, body: new DecodedBody(reply, operation, codings) };
}

/** Throws if the body has another number of bytes, because the assumption about its coding was then wrong. */
function counted(reply: Reply, size: number, { operation, isKnown, learn }: CodingContext): Reply {
  const { body, url, status } = reply;
  let left = size;
  const read = async (): Promise<Buffer | undefined> => {
    const piece = await body.read();
    left -= piece?.length ?? 0;
    if (piece === undefined ? left === 0 : left >= 0) return piece;
    learn(!isKnown);
    const detail = `${url.host} sent ${left > 0 ? 'fewer' : 'more'} than ${size} bytes with a Content-Encoding`;
    const remedy = isKnown ? 'never' : 'restart';
    throw new Failure({ operation, side: 'source', code: 'size-mismatch', detail, remedy, status });
  };
  const cancel = (): void => {
    body.cancel();
  };
  const expectShort = (): void => {
    body.expectShort();
  };
  return { ...reply, body: { read, cancel, expectShort } };
}

async function wholeOf(body: ReplyBody, size: number): Promise<Buffer> {
  const pieces = new Pieces();
  let length = 0;
  // Compression makes incompressible content slightly longer.
  const most = size + size / 8 + 1024;
  for (let piece = await body.read(); piece !== undefined && length <= most; piece = await body.read()) {
    pieces.push(piece);
    length += piece.length;
  }
  body.cancel();
  return pieces.joined();
}

/** The decoded body of a reply. */
class DecodedBody implements ReplyBody {
  readonly #inner: ReplyBody;
  readonly #stream: Readable;
  readonly #pieces: AsyncIterator<Buffer, undefined>;
  readonly #broken: (thrown: unknown) => Failure;

  constructor({ body, url, status }: Reply, operation: string, codings: readonly Coding[]) {
    this.#inner = body;
    this.#broken = (thrown) => {
      if (thrown instanceof Failure) return thrown;
      const detail = `${url.host} sent a body that does not match its Content-Encoding`;
      const isShort = thrown instanceof Error && 'code' in thrown && thrown.code === 'Z_BUF_ERROR';
      const code = isShort ? 'truncated' : 'invalid';
      return new Failure({ operation, side: 'source', code, detail, status, cause: thrown });
    };
    const source = Readable.from(piecesOf(body), { objectMode: false });
    const decoders: Transform[] = codings.toReversed().map(decoder);
    this.#stream = decoders.at(-1) ?? source;
    // The reader receives errors from the last stream.
    pipeline([source, ...decoders], () => undefined);
    this.#pieces = this.#stream[Symbol.asyncIterator]() as AsyncIterator<Buffer, undefined>;
  }

  async read(): Promise<Buffer | undefined> {
    try {
      const { value } = await this.#pieces.next();
      // The reader may release the buffer, and zlib still writes to the memory behind it.
      return value === undefined ? undefined : Buffer.from(value);
    } catch (thrown) {
      throw this.#broken(thrown);
    }
  }

  cancel(): void {
    this.#inner.cancel();
    this.#stream.destroy();
  }

  expectShort(): void {
    this.#inner.expectShort();
  }
}

async function* piecesOf(body: ReplyBody): AsyncGenerator<Buffer> {
  for (let piece = await body.read(); piece !== undefined; piece = await body.read()) yield piece;
}
