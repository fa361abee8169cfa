import { type Gunzip, gunzipSync } from 'node:zlib';
import { Content, type DiffIds } from './content.ts';
import type { Inflater, InflateOptions } from './inflater.ts';
import { destroyed, StreamInflater } from './stream-inflater.ts';

/** The maximum size of a blob. */
export const BRIEF_BYTES = 16 * 1024;

/** Inflating these bytes takes less than a millisecond. */
const MAX_UNCOMPRESSED_BYTES = 256 * 1024;

/**
 * Inflates a small gzip blob in one call. Creating a stream and waking zlib's thread takes four times as long. A blob
 * that is not plainly correct is passed to a `StreamInflater`, so that every fault has one place and one message.
 */
export class BriefInflater implements Inflater {
  readonly #options: InflateOptions;
  #bytes: Uint8Array = new Uint8Array(0);
  #stream: StreamInflater | undefined;
  #destroyed = false;

  constructor(options: InflateOptions) {
    this.#options = options;
  }

  async write(chunk: Uint8Array): Promise<void> {
    if (this.#destroyed) throw destroyed();
    if (this.#stream !== undefined) return this.#stream.write(chunk);
    this.#bytes = Buffer.concat([this.#bytes, chunk]);
  }

  async end(): Promise<DiffIds> {
    if (this.#destroyed) throw destroyed();
    if (this.#stream !== undefined) return this.#stream.end();
    const { maxUncompressed, ratioFrom } = this.#options;
    const uncompressed = gunzipped(this.#bytes, Math.min(MAX_UNCOMPRESSED_BYTES, maxUncompressed, ratioFrom));
    if (uncompressed !== undefined) {
      const content = new Content(this.#options);
      content.update(uncompressed, this.#bytes.length);
      return content.diffIds();
    }
    this.#stream = new StreamInflater(this.#options);
    await this.#stream.write(this.#bytes);
    return this.#stream.end();
  }

  async destroy(): Promise<void> {
    this.#destroyed = true;
    await this.#stream?.destroy();
  }
}

/** Undefined for bytes that are not gzip, are incomplete, have other bytes behind them, or inflate to more than `limit`. */
function gunzipped(bytes: Uint8Array, limit: number): Uint8Array | undefined {
  try {
    // With `info`, the result has another form, which the types of Node.js omit.
    const { buffer, engine } = gunzipSync(bytes, { info: true, maxOutputLength: limit }) as unknown as {
      readonly buffer: Buffer;
      readonly engine: Gunzip;
    };
    // Node.js ignores zeros behind a member.
    return engine.bytesWritten === bytes.length ? buffer : undefined;
  } catch {
    return undefined;
  }
}
