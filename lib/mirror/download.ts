/**
 * A fresh download: ranges fetched side by side, hashed in order as they arrive, each part uploaded as soon as it is full,
 * and nothing completed before the digest matched.
 */
import { asFailure, Failure } from '../base/failure.ts';
import { release } from '../base/release.ts';
import { Scope } from '../base/scope.ts';
import { type PartRange, ranges } from '../archive/parts.ts';
import type { Part, Upload } from '../archive/store.ts';
import { digestParts } from '../oci/digest.ts';
import type { BlobBody } from '../registry/source.ts';
import { PartBuffer } from './part-buffer.ts';
import { type Expected, type Proof, Prover } from './prover.ts';
import { extentOf, partSizeOf, rangeIgnored, type Transfer, type Transferred, waitedFor } from './transfer.ts';

/**
 * Fetches the whole blob. On a failure that a retry mends, the parts that landed are kept; otherwise nothing is.
 *
 * One connection from the first byte to the last serves a blob that fits in a single part, one of unknown size, and a
 * registry that ignores ranges; everything else comes in as many ranges at once as the window and the host allow.
 */
export async function download(t: Transfer): Promise<Transferred> {
  return new Download(t).run();
}

class Download {
  readonly #t: Transfer;
  readonly #partSize: number;
  readonly #scope: Scope;
  readonly #prover: Prover;
  readonly #parts: Part[] = [];
  readonly #bodies: BlobBody[] = [];
  /** Parts whose buffers are out, with what each still waits for. */
  readonly #held = new Map<PartBuffer, number>();
  /** All parts so far are with the prover, one behind the other; resolves to its last write, which may be under way. */
  #fed: Promise<[Promise<void>]> = Promise.resolve([Promise.resolve()]);
  /** All parts so far are hashed. */
  #hashed: Promise<void> = Promise.resolve();
  #upload: Upload | undefined;
  /** The whole blob, where it fits in one part: put at once, after it is proven. */
  #only: PartBuffer | undefined;
  #stopped = false;
  /** Whether the blob comes in ranges, as far as is known: until a body is open, nothing speaks against it. */
  #resumable = true;

  constructor(t: Transfer) {
    this.#t = t;
    this.#partSize = partSizeOf(t);
    this.#scope = new Scope(AbortSignal.any([t.signal, t.deadline.over]));
    this.#prover = new Prover(
      t.expected,
      t.maxUncompressed === undefined ? {} : { maxUncompressed: t.maxUncompressed },
    );
  }

  async run(): Promise<Transferred> {
    try {
      this.#scope.run((signal) => this.#feed(signal));
      await this.#scope.join();
      if (this.#stopped) return { kind: 'continue', resumable: this.#resumable };
      const proof = await this.#prove();
      await this.#finish(proof);
      return { kind: 'proven', proof };
    } catch (error) {
      const late = error === this.#t.deadline.over.reason;
      const waited = late ? waitedFor(this.#scope.thrown) : undefined;
      if (late && waited === undefined) return { kind: 'continue', resumable: this.#resumable };
      const failure = waited ?? asFailure(error, `copy blob ${this.#t.expected.digest}`, 'source');
      // Where the archive wants it begun anew, another writer is at work on the same upload: that one is left to him.
      const theirs = failure.remedy === 'restart' && failure.side === 'archive';
      if (failure.remedy !== 'retry' && !theirs) await this.#abandon();
      throw failure;
    } finally {
      await this.#scope.close();
      this.#prover.destroy();
      for (const part of this.#held.keys()) this.#t.window.give(part.buffer);
    }
  }

  async #feed(signal: AbortSignal): Promise<void> {
    const { size } = this.#t.expected;
    const whole = size === undefined || size <= this.#partSize;
    const part = await this.#take(1, Math.min(this.#partSize, size ?? this.#partSize), signal);
    const body = await this.#open(whole ? { start: 0 } : { start: 0, end: this.#partSize }, signal);
    this.#resumable = !whole && body.ranged;
    if (whole || !body.ranged) await this.#stream(body, part, size ?? body.total, signal);
    else await this.#ranges(body, part, ranges(size, this.#partSize), signal);
  }

  async #ranges(
    firstBody: BlobBody,
    firstPart: PartBuffer,
    plan: readonly PartRange[],
    signal: AbortSignal,
  ): Promise<void> {
    const upload = await this.#createUpload(signal);
    for (const range of plan) {
      const part = range.number === 1 ? firstPart : await this.#take(range.number, range.size, signal);
      if (this.#stopIfLate()) {
        part.complete();
        return;
      }
      this.#scope.run(async () => {
        const body = range.number === 1 ? firstBody : await this.#open(extentOf(range), signal);
        if (!body.ranged) throw rangeIgnored(this.#t.expected);
        await part.fill(body.body, this.#t.onBytes);
        await this.#store(upload, part, signal);
      });
    }
  }

  async #stream(body: BlobBody, first: PartBuffer, size: number | undefined, signal: AbortSignal): Promise<void> {
    let upload: Upload | undefined;
    let part = first;
    for await (const chunk of body.body) {
      this.#t.onBytes(chunk.length);
      for (let rest = chunk; rest.length > 0; rest = rest.subarray(part.append(rest))) {
        if (!part.full) continue;
        if (part.number * this.#partSize >= (size ?? Infinity)) throw tooLong(this.#t.expected, size);
        if (part.number >= this.#t.store.limits.maxParts)
          throw tooLarge(this.#t.expected, part.number * this.#partSize);
        upload ??= await this.#createUpload(signal);
        part = await this.#turnOver(upload, part, size, signal);
      }
      release(chunk);
      if (upload !== undefined && this.#stopIfLate()) {
        part.complete();
        return;
      }
    }
    part.complete();
    if (upload === undefined) this.#only = part;
    else await this.#store(upload, part, signal);
  }

  /**
   * Stores a part of a stream and gives its next one. Whoever holds a connection must not wait for memory of others, who
   * may be waiting for that very connection: where the window has none left, the stream waits for its own.
   */
  async #turnOver(
    upload: Upload,
    part: PartBuffer,
    size: number | undefined,
    signal: AbortSignal,
  ): Promise<PartBuffer> {
    part.complete();
    this.#held.set(part, (this.#held.get(part) ?? 0) + 1);
    const stored = this.#store(upload, part, signal);
    this.#scope.run(() => stored);
    const left = size === undefined ? this.#partSize : Math.min(this.#partSize, size - part.number * this.#partSize);
    const free = this.#t.window.tryTake(left);
    if (free === undefined) {
      await Promise.all([stored, this.#hashed]);
      this.#held.delete(part);
    } else this.#letGo(part);
    return this.#lineUp(part.number + 1, free ?? part.buffer, signal);
  }

  async #open(range: { readonly start: number; readonly end?: number }, signal: AbortSignal): Promise<BlobBody> {
    const body = await this.#t.source.open(range, { signal });
    this.#bodies.push(body);
    return body;
  }

  /** A buffer for the next part, and its place in the row of those to be hashed. */
  async #take(number: number, length: number, signal: AbortSignal): Promise<PartBuffer> {
    return this.#lineUp(number, await this.#t.window.take(length, signal), signal);
  }

  #lineUp(number: number, buffer: Buffer, signal: AbortSignal): PartBuffer {
    const part = new PartBuffer(number, buffer);
    this.#held.set(part, 2);
    const before = this.#fed;
    const fed = (async (): Promise<[Promise<void>]> => {
      let [last] = await before;
      for await (const slice of part.slices(signal)) {
        const earlier = last;
        last = this.#prover.write(slice);
        // Whoever waits for it hears of it.
        last.catch(() => undefined);
        await earlier;
      }
      return [last];
    })();
    this.#fed = fed;
    const hashed = (async (): Promise<void> => {
      await (
        await fed
      )[0];
      this.#letGo(part);
    })();
    this.#hashed = hashed;
    this.#scope.run(() => hashed);
    return part;
  }

  async #store(upload: Upload, part: PartBuffer, signal: AbortSignal): Promise<void> {
    this.#parts.push(await this.#t.store.uploadPart(upload, part.number, part.bytes, { signal }));
    this.#letGo(part);
  }

  /** Called once when a part is hashed and once when it is stored: then its buffer is free. */
  #letGo(part: PartBuffer): void {
    const left = (this.#held.get(part) ?? 0) - 1;
    if (left > 0) {
      this.#held.set(part, left);
      return;
    }
    this.#held.delete(part);
    this.#t.window.give(part.buffer);
  }

  #stopIfLate(): boolean {
    this.#stopped ||= this.#t.deadline.near();
    return this.#stopped;
  }

  async #createUpload(signal: AbortSignal): Promise<Upload> {
    this.#upload = await this.#t.store.createUpload(this.#t.key, { partSize: this.#partSize, signal });
    return this.#upload;
  }

  async #prove(): Promise<Proof> {
    try {
      return await this.#prover.finish();
    } catch (error) {
      const failure = asFailure(error, `verify blob ${this.#t.expected.digest}`, 'source');
      // What was put together from several answers may be right in each of them: that deserves another try from zero.
      if (failure.code !== 'digest-mismatch' || !this.#bodies.some((body) => body.resumed() > 0)) throw failure;
      const { operation, side, detail } = failure;
      throw new Failure({ operation, side, code: 'digest-mismatch-resumed', detail, cause: failure });
    }
  }

  async #finish(proof: Proof): Promise<void> {
    const { store, key, signal } = this.#t;
    if (this.#only !== undefined) {
      const { algorithm, hex } = digestParts(proof.digest);
      await store.put(key, this.#only.bytes, { signal, ...(algorithm === 'sha256' ? { sha256: hex } : {}) });
    } else if (this.#upload !== undefined) {
      // No condition: proven bytes may replace whatever is there.
      this.#parts.sort((a, b) => a.number - b.number);
      await store.completeUpload(this.#upload, this.#parts, { signal });
    }
  }

  /** Nobody may go on with what has landed. Best effort: what is left is cleaned by age. */
  async #abandon(): Promise<void> {
    if (this.#upload !== undefined) await this.#t.store.abortUpload(this.#upload).catch(() => undefined);
  }
}

function tooLong(expected: Expected, size: number | undefined): Failure {
  return new Failure({
    operation: `verify blob ${expected.digest}`,
    side: 'source',
    code: 'size-mismatch',
    detail: `it is longer than the ${size ?? 0} bytes that its descriptor says`,
  });
}

/** Of a blob whose size nobody said: known only when the parts are used up. */
function tooLarge(expected: Expected, most: number): Failure {
  return new Failure({
    operation: `copy blob ${expected.digest}`,
    side: 'archive',
    code: 'too-large',
    detail: `its size was not said, and it has more than the ${most} bytes that all parts of an upload have then`,
  });
}
