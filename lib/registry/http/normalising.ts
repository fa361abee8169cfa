import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import type { buildConnector } from 'undici';
import { ChunkedBody } from './chunked-body.ts';
import { normaliseHead } from './response-head.ts';

/** A response whose head cannot be normalised. */
export class InvalidHead extends Error {}

/** The message for contradictory Content-Length values. */
export const CONTRADICTORY_LENGTH = 'the Content-Length is not a single number';

/** The limit for the interim responses (1xx) before a response. */
const MAX_INTERIMS = 100;

/** A longer head is passed to the parser unchanged, which refuses it. */
const MAX_HEAD_BYTES = 512 * 1024;

const HEAD_END = /\r?\n\r?\n/;

/** Matches a normalised head. */
const CHUNKED = /^transfer-encoding: (?:.*, )?chunked\r$/m;

/** Undici refuses `100 Continue`, and ignores the others. 101 ends an exchange. */
const INTERIM = /^HTTP\/1\.\d 1(?!01)\d\d/;

/**
 * Connections that normalise responses before undici parses them, because undici's parser has no lenient mode. A
 * connection serves one request (`reset` in the dispatch options), so that a wrong length cannot affect the next response.
 */
export function normalising(connector: buildConnector.connector): buildConnector.connector {
  return (options, callback) =>
    connector(options, (...[error, socket]) => {
      if (error !== null) callback(error, null);
      // Undici uses only the stream methods, `ref` and `unref`.
      else callback(null, new NormalisedSocket(socket) as unknown as Socket);
    });
}

class NormalisedSocket extends Duplex {
  readonly #socket: Socket;
  /** The received part of the head; undefined in the body. */
  #head: Buffer | undefined = Buffer.alloc(0);
  #interims = 0;
  #chunked: ChunkedBody | undefined;

  constructor(socket: Socket) {
    super();
    this.#socket = socket;
    socket.on('data', (bytes: Buffer) => {
      this.#take(bytes);
    });
    socket.on('error', (error) => this.destroy(error));
    socket.once('end', this.#onEnd);
    socket.once('close', this.#onEnd);
  }

  ref(): this {
    this.#socket.ref();
    return this;
  }

  unref(): this {
    this.#socket.unref();
    return this;
  }

  override _read(): void {
    this.#socket.resume();
  }

  override _write(chunk: Buffer, encoding: BufferEncoding, callback: (error?: Error | null) => void): void {
    this.#socket.write(chunk, encoding, callback);
  }

  override _final(callback: () => void): void {
    this.#socket.end(callback);
  }

  override _destroy(error: Error | null, callback: (error: Error | null) => void): void {
    this.#socket.destroy();
    callback(error);
  }

  readonly #onEnd = (): void => {
    if (this.readableEnded || this.destroyed) return;
    if (this.#head !== undefined) this.push(this.#head);
    this.#head = undefined;
    this.#socket.off('end', this.#onEnd);
    this.#socket.off('close', this.#onEnd);
    this.push(null);
  };

  #take(bytes: Buffer): void {
    if (this.#head === undefined) {
      this.#passBody(bytes);
      return;
    }
    this.#head = Buffer.concat([this.#head, bytes]);
    let rest: Buffer | undefined = this.#head;
    try {
      while (rest !== undefined) rest = this.#takeHead(rest);
    } catch (error) {
      this.destroy(error as InvalidHead);
    }
  }

  /** Passes the head at the start of the bytes to the parser. Returns the bytes behind an interim response, which it drops. */
  #takeHead(bytes: Buffer): Buffer | undefined {
    this.#head = bytes;
    const text = bytes.toString('latin1');
    const end = HEAD_END.exec(text);
    if (end === null && bytes.length < MAX_HEAD_BYTES) return undefined;
    const length = end === null ? 0 : end.index + end[0].length;
    const head = length === 0 ? '' : normaliseHead(text.slice(0, length));
    if (head === undefined) throw new InvalidHead(CONTRADICTORY_LENGTH);
    if (INTERIM.test(head)) {
      this.#interims += 1;
      if (this.#interims <= MAX_INTERIMS) return bytes.subarray(length);
      throw new InvalidHead(`it follows more than ${MAX_INTERIMS} interim responses`);
    }
    this.#head = undefined;
    if (CHUNKED.test(head)) this.#chunked = new ChunkedBody();
    this.#pass(Buffer.from(head, 'latin1'));
    this.#passBody(bytes.subarray(length));
    return undefined;
  }

  #passBody(bytes: Buffer): void {
    if (this.#chunked === undefined) this.#pass(bytes);
    else for (const piece of this.#chunked.normalise(bytes)) this.#pass(piece);
  }

  #pass(bytes: Buffer): void {
    if (bytes.length > 0 && !this.push(bytes)) this.#socket.pause();
  }
}
