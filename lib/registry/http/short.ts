import { Failure } from '../../core/failure.ts';
import { Pieces } from '../../core/pieces.ts';
import { decodeShort, TOO_MANY_CODINGS } from './encoding.ts';
import type { Reply, ReplyBody } from './message.ts';

type Received = Pick<Reply, 'body' | 'headers' | 'url'>;

/** A body or a small blob of more bytes waits for the turn of its registry. */
export const LARGE_BYTES = 256 * 1024;

/** Waits until no other large body of the registry is received. Disposing of the result ends the turn. */
type Turn = () => Promise<Disposable>;

/**
 * Reads and decodes a whole short body, and always frees its connection.
 *
 * @param turn for a body that may be large; it is not read while it waits for its turn, so that its sender stops
 * @returns undefined if the body is longer than `maxBytes`
 * @throws Failure `truncated` if the body cannot be decoded, `invalid` if it has too many codings
 */
export async function readWhole(
  reply: Received,
  operation: string,
  maxBytes: number,
  turn?: Turn,
): Promise<Uint8Array | undefined> {
  const { bytes, whole } = await readBounded(reply.body, maxBytes, { turn });
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
  const { bytes } = await readBounded(reply.body, maxBytes, { lenient: true });
  const decoded = decodeShort(bytes, reply.headers, EXPANSION * maxBytes, true);
  return typeof decoded === 'string' ? '' : Buffer.from(decoded.bytes.subarray(0, maxBytes)).toString('utf8');
}

/** The excerpt of an encoded body is omitted if it expands by more than this factor. */
const EXPANSION = 16;

async function readBounded(
  body: ReplyBody,
  maxBytes: number,
  { lenient = false, turn }: { readonly lenient?: boolean; readonly turn?: Turn | undefined },
): Promise<{ bytes: Buffer; whole: boolean }> {
  body.expectShort();
  const pieces = new Pieces();
  let length = 0;
  let taken: Disposable | undefined;
  try {
    for (let chunk = await body.read(); chunk !== undefined; chunk = await body.read()) {
      const fits = Math.min(chunk.length, maxBytes - length);
      pieces.push(chunk.subarray(0, fits));
      length += fits;
      if (fits < chunk.length) return { bytes: pieces.joined(), whole: false };
      if (length <= LARGE_BYTES || turn === undefined || taken !== undefined) continue;
      taken = await turn();
      // The time limit does not include the wait.
      body.expectShort();
    }
    return { bytes: pieces.joined(), whole: true };
  } catch (thrown) {
    if (!lenient) throw thrown;
    return { bytes: pieces.joined(), whole: true };
  } finally {
    body.cancel();
    taken?.[Symbol.dispose]();
  }
}
