import { Failure } from '../../core/failure.ts';
import { decodeShort, TOO_MANY_CODINGS } from './encoding.ts';
import type { Reply, ReplyBody } from './message.ts';

type Received = Pick<Reply, 'body' | 'headers' | 'url'>;

/**
 * Reads and decodes a whole short body, and always frees its connection.
 *
 * @returns undefined if the body is longer than `maxBytes`
 * @throws Failure `truncated` if the body cannot be decoded, `invalid` if it has too many codings
 */
export async function readWhole(reply: Received, operation: string, maxBytes: number): Promise<Uint8Array | undefined> {
  const { bytes, whole } = await readBounded(reply.body, maxBytes);
  if (!whole) return undefined;
  const decoded = decodeShort(bytes, reply.headers, maxBytes);
  if (decoded === 'too-large') return undefined;
  if (typeof decoded !== 'string') return decoded.bytes;
  const isBroken = decoded === 'broken';
  const problem = isBroken ? 'sent a body that does not match its Content-Encoding' : TOO_MANY_CODINGS;
  const code = isBroken ? 'truncated' : 'invalid';
  throw new Failure({ operation, side: 'source', code, detail: `${reply.url.host} ${problem}` });
}

/** A body that has arrived completely. */
export function bufferedBody(bytes: Buffer): ReplyBody {
  let rest = bytes.length === 0 ? undefined : bytes;
  return {
    read: () => {
      const chunk = rest;
      rest = undefined;
      return Promise.resolve(chunk);
    },
    cancel: () => {
      rest = undefined;
    },
    expectShort: () => undefined,
  };
}

/** A reply whose body has been read and decoded, so that it holds no connection. */
export function withText(reply: Reply, text: string): Reply {
  const { 'content-encoding': _, ...headers } = reply.headers;
  return { ...reply, headers, body: bufferedBody(Buffer.from(text, 'utf8')) };
}

/** The limit for the body of an error response. */
const ERROR_BODY_BYTES = 64 * 1024;

/** Up to `maxBytes` of a body, for an error message; of a truncated body, the part that arrived. */
export async function readExcerpt(reply: Received, maxBytes = ERROR_BODY_BYTES): Promise<string> {
  const { bytes } = await readBounded(reply.body, maxBytes, true);
  const decoded = decodeShort(bytes, reply.headers, EXPANSION * maxBytes, true);
  return typeof decoded === 'string' ? '' : Buffer.from(decoded.bytes.subarray(0, maxBytes)).toString('utf8');
}

/** The excerpt of an encoded body is omitted if it expands by more than this factor. */
const EXPANSION = 16;

async function readBounded(
  body: ReplyBody,
  maxBytes: number,
  lenient = false,
): Promise<{ bytes: Buffer; whole: boolean }> {
  body.expectShort();
  const chunks: Buffer[] = [];
  let length = 0;
  try {
    for (let chunk = await body.read(); chunk !== undefined; chunk = await body.read()) {
      const fits = Math.min(chunk.length, maxBytes - length);
      chunks.push(chunk.subarray(0, fits));
      length += fits;
      if (fits < chunk.length) return { bytes: Buffer.concat(chunks, length), whole: false };
    }
  } catch (thrown) {
    if (!lenient) throw thrown;
  } finally {
    body.cancel();
  }
  return { bytes: Buffer.concat(chunks, length), whole: true };
}
