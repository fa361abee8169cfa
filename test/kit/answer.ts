import { once } from 'node:events';
import type { IncomingMessage, OutgoingHttpHeader, OutgoingHttpHeaders, ServerResponse } from 'node:http';
import { type Content, contentOf } from './content.ts';
import type { Spoiling } from './misbehave.ts';

/** The response of a well-behaved registry. */
export interface Answer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string | number>>;
  readonly body?: Content;
  /** The body's strong ETag; with it, ranges of the body may be requested. */
  readonly etag?: string;
}

interface Prepared {
  readonly status: number;
  readonly headers: Record<string, string | number>;
  readonly start: number;
  readonly end: number;
}

let etags = 0;

/**
 * Sends `answer`, or the response that `spoiling` makes of it. Resolves when it is sent, cut, or the client has
 * disconnected.
 */
export async function send(
  request: IncomingMessage,
  response: ServerResponse,
  answer: Answer,
  spoiling: Spoiling | undefined,
  sent: { status: number; bytes: number },
): Promise<void> {
  const spoilt = spoiling?.status === undefined ? answer : replaced(spoiling.status, spoiling.body);
  const body = spoilt.body ?? contentOf(Buffer.alloc(0));
  const etag = spoiling?.changeEtag === true ? `"changed-${(etags += 1)}"` : spoilt.etag;
  const { status, headers, start, end } = ranged(
    request,
    { ...spoilt, ...(etag === undefined ? {} : { etag }) },
    body,
    spoiling,
  );
  const unsized = spoiling?.noContentLength === true || spoiling?.endAfter !== undefined;
  const changes = { ...(unsized ? { 'content-length': null } : {}), ...spoiling?.headers };
  sent.status = status;
  response.writeHead(status, changed(headers, changes));
  if (request.method === 'HEAD') response.end();
  else await sendBody(response, body, { start, end }, spoiling, sent);
}

/** `headers` with the `changes`, regardless of case; null removes a header. */
function changed(headers: OutgoingHttpHeaders, changes: Readonly<Record<string, string | null>>): OutgoingHttpHeaders {
  const all = new Map<string, OutgoingHttpHeader | null | undefined>(Object.entries(headers));
  for (const [name, value] of Object.entries(changes)) all.set(name.toLowerCase(), value);
  return Object.fromEntries([...all].flatMap(([name, value]) => (value == null ? [] : [[name, value]])));
}

function replaced(status: number, body: string | Uint8Array | object | undefined): Answer {
  if (body === undefined) return { status };
  if (typeof body === 'string' || body instanceof Uint8Array) return { status, body: contentOf(Buffer.from(body)) };
  return json(status, body);
}

export function json(status: number, value: unknown, headers: Record<string, string> = {}): Answer {
  const body = contentOf(Buffer.from(JSON.stringify(value)));
  return { status, headers: { 'content-type': 'application/json', ...headers }, body };
}

/** RFC 9110, sections 13.1.5 (If-Range) and 14.2 (Range). */
function ranged(request: IncomingMessage, answer: Answer, body: Content, spoiling: Spoiling | undefined): Prepared {
  const { status, etag } = answer;
  const headers: Record<string, string | number> = { ...answer.headers, 'content-length': body.size };
  const whole = { status, headers, start: 0, end: body.size };
  if (etag === undefined || status !== 200) return whole;
  Object.assign(headers, { etag, 'accept-ranges': 'bytes' });
  const condition = request.headers['if-range'];
  if (request.method !== 'GET' || spoiling?.ignoreRange === true || (condition !== undefined && condition !== etag))
    return whole;
  const range = parseRange(request.headers.range, body.size);
  if (range === 'none') return whole;
  if (range === 'unsatisfiable')
    return {
      status: 416,
      headers: { 'content-range': `bytes */${body.size}`, 'content-length': 0 },
      start: 0,
      end: 0,
    };
  const { end } = range;
  const wrong = spoiling?.wrongContentRange;
  const start = wrong !== true ? range.start : range.start > 0 ? range.start - 1 : range.start + 1;
  headers['content-length'] = end - start;
  headers['content-range'] = `bytes ${start}-${end - 1}/${body.size + (wrong === 'total' ? 1 : 0)}`;
  return { status: 206, headers, start, end };
}

/** One byte range (RFC 9110, section 14.1.2); several ranges are answered with the whole body, as a server may. */
function parseRange(
  header: string | undefined,
  size: number,
): { start: number; end: number } | 'none' | 'unsatisfiable' {
  const match = /^bytes=(\d*)-(\d*)$/.exec(header ?? '');
  const [, first = '', last = ''] = match ?? [];
  if (first === '' && last === '') return 'none';
  if (first === '')
    return Number(last) === 0 || size === 0 ? 'unsatisfiable' : { start: Math.max(0, size - Number(last)), end: size };
  const start = Number(first);
  if (last !== '' && Number(last) < start) return 'none';
  return start >= size ? 'unsatisfiable' : { start, end: last === '' ? size : Math.min(size, Number(last) + 1) };
}

async function sendBody(
  response: ServerResponse,
  body: Content,
  { start, end }: { start: number; end: number },
  spoiling: Spoiling | undefined,
  sent: { bytes: number },
): Promise<void> {
  const gone = new AbortController();
  response.once('close', () => {
    gone.abort();
  });
  const { cutAfter = Infinity, endAfter = Infinity, flipByteAt = -1 } = spoiling ?? {};
  let stallAfter = spoiling?.stallAfter ?? Infinity;
  const write = async (chunk: Uint8Array): Promise<void> => {
    sent.bytes += chunk.length;
    if (chunk.length > 0 && !response.write(chunk)) await once(response, 'drain', { signal: gone.signal });
  };
  try {
    response.flushHeaders();
    for await (const plain of body.read(start, Math.min(end, start + cutAfter, start + endAfter))) {
      gone.signal.throwIfAborted();
      let chunk = flipped(plain, flipByteAt - start - sent.bytes);
      if (stallAfter < sent.bytes + chunk.length) {
        const held = stallAfter - sent.bytes;
        stallAfter = Infinity;
        await write(chunk.subarray(0, held));
        await flushed(response, gone.signal);
        spoiling?.stall.begin();
        await unless(gone.signal, spoiling?.stall.released ?? Promise.resolve());
        chunk = chunk.subarray(held);
      }
      await write(chunk);
    }
    if (cutAfter < end - start) {
      await flushed(response, gone.signal);
      response.destroy();
    } else response.end();
  } catch (error) {
    // A client that disconnects in the middle is normal.
    if (!gone.signal.aborted) throw error;
  }
}

/** Resolves once the kernel has all bytes that were written so far. */
async function flushed(response: ServerResponse, gone: AbortSignal): Promise<void> {
  const written = new Promise<void>((resolve) => {
    response.write('', () => {
      resolve();
    });
  });
  await unless(gone, written);
}

/** `promise`, unless the client disconnects first. */
function unless(gone: AbortSignal, promise: Promise<void>): Promise<void> {
  return new Promise((resolve, reject) => {
    const leave = (): void => {
      reject(gone.reason as Error);
    };
    if (gone.aborted) leave();
    gone.addEventListener('abort', leave, { once: true });
    promise.then(resolve, reject);
  });
}

function flipped(chunk: Uint8Array, at: number): Uint8Array {
  if (at < 0 || at >= chunk.length) return chunk;
  const copy = Buffer.from(chunk);
  copy[at] = (copy[at] ?? 0) ^ 0x01;
  return copy;
}
