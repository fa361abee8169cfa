import { pipeline, Readable, type Transform } from 'node:stream';
import { Failure } from '../../core/failure.ts';
import { codingsOf, decoder } from './encoding.ts';
import { parseContentRange } from './range.ts';
import type { Reply, ReplyBody } from './message.ts';

/** Blobs up to this size are read whole where only their length shows whether they are encoded. */
const SMALL_BYTES = 4 * 1024 * 1024;

/**
 * The bytes of a blob without the codings that were applied on the way, although `identity` was asked for. Many stores only
 * label what is compressed anyway (`Content-Encoding: gzip` on a gzip layer) and send its bytes as they are: the length
 * decides which of the two it is, and in the end the digest.
 *
 * @param isKnown whether the blob was found to be encoded before
 * @returns nothing where the reply is a range of the encoded form, so that the whole is needed
 */
export async function withoutCodings(
  reply: Reply,
  operation: string,
  size: number | undefined,
  isKnown: boolean,
): Promise<Reply | undefined> {
  if (codingsOf(reply.headers).length === 0 || size === undefined || reply.status === 416) return reply;
  const total = totalOf(reply);
  if (total === size) return reply;
  if (total !== undefined || isKnown) {
    if (reply.status === 200) return decoded(reply, operation, reply.body);
    reply.body.cancel();
    return undefined;
  }
  if (size > SMALL_BYTES || reply.status !== 200) return reply;
  const whole = await wholeOf(reply.body, size);
  return whole.length === size ? { ...reply, body: new Kept(whole) } : decoded(reply, operation, new Kept(whole));
}

function totalOf({ status, headers }: Reply): number | undefined {
  if (status === 206) return parseContentRange(headers['content-range'])?.total;
  const length = headers['content-length'];
  return typeof length === 'string' && /^\d{1,15}$/.test(length) ? Number(length) : undefined;
}

/** Length and ETag are those of the encoded form. */
function decoded(reply: Reply, operation: string, body: ReplyBody): Reply {
  const { 'content-length': _, etag: __, ...headers } = reply.headers;
  return { ...reply, headers, body: new DecodedBody({ ...reply, body }, operation) };
}

async function wholeOf(body: ReplyBody, size: number): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let length = 0;
  // What does not compress grows by a little.
  const most = size + size / 8 + 1024;
  for (let piece = await body.read(); piece !== undefined && length <= most; piece = await body.read()) {
    pieces.push(piece);
    length += piece.length;
  }
  body.cancel();
  return Buffer.concat(pieces);
}

/** A body that has arrived already. */
class Kept implements ReplyBody {
  #bytes: Buffer | undefined;

  constructor(bytes: Buffer) {
    this.#bytes = bytes.length === 0 ? undefined : bytes;
  }

  read(): Promise<Buffer | undefined> {
    const bytes = this.#bytes;
    this.#bytes = undefined;
    return Promise.resolve(bytes);
  }

  cancel(): void {
    this.#bytes = undefined;
  }

  expectShort(): void {
    // Nothing is awaited any more.
  }
}

/** A body without the codings of its reply. */
class DecodedBody implements ReplyBody {
  readonly #inner: ReplyBody;
  readonly #stream: Readable;
  readonly #pieces: AsyncIterator<Buffer, undefined>;
  readonly #broken: (thrown: unknown) => Failure;

  constructor({ body, headers, url, status }: Reply, operation: string) {
    this.#inner = body;
    this.#broken = (thrown) => {
      if (thrown instanceof Failure) return thrown;
      const detail = `${url.host} sent a body that does not decode as its Content-Encoding says`;
      const isShort = thrown instanceof Error && 'code' in thrown && thrown.code === 'Z_BUF_ERROR';
      const code = isShort ? 'truncated' : 'invalid';
      return new Failure({ operation, side: 'source', code, detail, status, cause: thrown });
    };
    const source = Readable.from(piecesOf(body), { objectMode: false });
    const decoders: Transform[] = codingsOf(headers).reverse().map(decoder);
    this.#stream = decoders.at(-1) ?? source;
    // Errors reach the reader through the last stream.
    pipeline([source, ...decoders], () => undefined);
    this.#pieces = this.#stream[Symbol.asyncIterator]() as AsyncIterator<Buffer, undefined>;
  }

  async read(): Promise<Buffer | undefined> {
    try {
      const { value } = await this.#pieces.next();
      // A reader may release what it is given, and zlib goes on filling the rest of its buffers.
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
