import { Failure } from '../../core/failure.ts';
import { decodeShort } from './encoding.ts';
import type { Reply, ReplyBody } from './message.ts';

type Received = Pick<Reply, 'body' | 'headers' | 'url'>;

/**
 * A body that must be short, whole and without its content coding. Nothing where it is longer than `maxBytes`: it is
 * refused, not truncated. Its connection is free again afterwards, whatever happened.
 *
 * @throws Failure `truncated` where the body does not decode
 */
export async function readWhole(reply: Received, operation: string, maxBytes: number): Promise<Uint8Array | undefined> {
  const { bytes, whole } = await readBounded(reply.body, maxBytes);
  if (!whole) return undefined;
  const decoded = decodeShort(bytes, reply.headers, maxBytes);
  if (decoded === 'too-large') return undefined;
  if (decoded !== 'broken') return decoded.bytes;
  const detail = `${reply.url.host} sent a body that does not decode as its Content-Encoding says`;
  throw new Failure({ operation, side: 'source', code: 'truncated', detail });
}

/** As much of a body as `maxBytes` allows, for showing it to a person; of a body that breaks off, what had arrived. */
export async function readExcerpt(reply: Received, maxBytes: number): Promise<string> {
  const { bytes } = await readBounded(reply.body, maxBytes, true);
  const decoded = decodeShort(bytes, reply.headers, EXPANSION * maxBytes, true);
  return typeof decoded === 'string' ? '' : Buffer.from(decoded.bytes.subarray(0, maxBytes)).toString('utf8');
}

/** How far the excerpt of an encoded error may expand before it is left out. */
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
