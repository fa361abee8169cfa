import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import type { buildConnector } from 'undici';
import { normaliseHead } from './response-head.ts';

/** A response with contradictory Content-Length values. */
export class ContradictoryLength extends Error {
  constructor() {
    super('the Content-Length is not a single number');
  }
}

/** A longer head is passed to the parser unchanged, which refuses it. */
const MAX_HEAD_BYTES = 512 * 1024;

const HEAD_END = /\r?\n\r?\n/;

/**
 * Connections that normalise response heads before undici parses them, because undici's parser has no lenient mode. A
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
      this.#pass(bytes);
      return;
    }
    let head: Buffer = Buffer.concat([this.#head, bytes]);
    let isInterim = true;
    // Another head follows an interim response.
    while (isInterim) {
      const text = head.toString('latin1');
      const end = HEAD_END.exec(text);
      this.#head = head;
      if (end === null && head.length < MAX_HEAD_BYTES) return;
      const length = end === null ? 0 : end.index + end[0].length;
      const normalised = length === 0 ? '' : normaliseHead(text.slice(0, length));
      if (normalised === undefined) {
        this.destroy(new ContradictoryLength());
        return;
      }
      this.#pass(Buffer.from(normalised, 'latin1'));
      isInterim = length > 0 && /^HTTP\/\d\.\d 1\d\d/.test(text);
      head = head.subarray(length);
    }
    this.#head = undefined;
    this.#pass(head);
  }

  #pass(bytes: Buffer): void {
    if (bytes.length > 0 && !this.push(bytes)) this.#socket.pause();
  }
}
