/**
 * A fresh download: ranges fetched side by side, hashed in order as they arrive, each part uploaded as soon as it is full,
 * and nothing completed before the digest matched.
 */
import { asFailure, Failure } from '../../core/failure.ts';
import { release } from '../../core/release.ts';
import { Scope } from '../../core/task-group.ts';
import { type PartRange, ranges } from '../../store/parts.ts';
import type { Part, Upload } from '../../store/store.ts';
import { digestParts } from '../../oci/digest.ts';
import type { BlobBody } from '../../registry/source.ts';
import { type PartBuffer, wrongLength } from './part-buffer.ts';
import { PartsInFlight } from './parts-in-flight.ts';
import { type Expected, type Proof, Prover } from '../../proof/prover.ts';
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

/** The most that one request asks for, in bytes: what breaks off is asked for again, and what time ends was asked for in vain. */
const RUN_BYTES = 64 * 1024 * 1024;

/** How many times as many parts the next request is for, each time that a single connection is found to be fast enough. */
const GROWTH = 4;

/** Parts that one request asks for where others wait: enough to be few requests, and few enough that their turn comes. */
const SHARED_PARTS = 4;

class Download {
  readonly #t: Transfer;
  readonly #partSize: number;
  readonly #scope: Scope;
  readonly #prover: Prover;
  readonly #inFlight: PartsInFlight;
  readonly #parts: Part[] = [];
  readonly #bodies: BlobBody[] = [];
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
    this.#prover = new Prover(t.expected, { maxUncompressed: t.maxUncompressed, strict: t.strict });
    this.#inFlight = new PartsInFlight(t.window, this.#prover, this.#scope, t.expected.size ?? 0);
  }

  async run(): Promise<Transferred> {
    try {
      this.#scope.run(() => this.#feed());
      await this.#scope.join();
      if (this.#stopped) return { kind: 'continue', resumable: this.#resumable };
      const proof = await this.#prove();
      await this.#finish(proof);
      return proof.deferred === true ? { kind: 'assembled' } : { kind: 'proven', proof };
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
      // It may still be reading the buffers that are given back.
      await this.#prover.destroy();
      this.#inFlight.giveBack();
    }
  }

  async #feed(): Promise<void> {
    const { size } = this.#t.expected;
    const plan = size === undefined || size <= this.#partSize ? [] : ranges(size, this.#partSize);
    const part = await this.#inFlight.take(1, plan[0]?.size ?? size ?? this.#partSize);
    const run = this.#runOf(plan, 0, GROWTH);
    const body = await this.#open(run.length === 0 ? { start: 0 } : extentOf(run));
    this.#resumable = run.length > 0 && body.ranged;
    if (this.#resumable) await this.#ranges(plan, { run, part, body });
    else await this.#stream(body, part, size ?? body.total);
  }

  /** Side by side, or, for runs of more than one part, one after the other. */
  async #ranges(
    plan: readonly PartRange[],
    first: { readonly run: readonly PartRange[]; readonly part: PartBuffer; readonly body: BlobBody },
  ): Promise<void> {
    const upload = await this.#createUpload();
    let { run, part } = first;
    let opened: BlobBody | undefined = first.body;
    for (let next = 0; ;) {
      const receiving = this.#receive(upload, run, part, opened);
      this.#scope.run(() => receiving.then(() => undefined));
      next += run.length === 1 ? 1 : await receiving;
      const range = plan[next];
      if (range === undefined) return;
      part = await this.#inFlight.take(range.number, range.size);
      if (this.#stopIfLate()) {
        this.#inFlight.complete(part);
        return;
      }
      run = this.#runOf(plan, next, run.length * GROWTH);
      opened = undefined;
    }
  }

  /**
   * What the next request asks for. A part; but more of them where half of the window has arrived, and waits to be
   * hashed or stored, since a single connection is fast enough then; and where blobs of more weight wait for memory, since
   * all that there is is in use then, and a second connection for this one would only be one less for them.
   */
  #runOf(plan: readonly PartRange[], from: number, count: number): readonly PartRange[] {
    const most = Math.max(Math.floor(RUN_BYTES / this.#partSize), 1);
    const usual = this.#isOutweighed() ? SHARED_PARTS : 1;
    return plan.slice(from, from + (this.#t.window.ahead ? Math.min(count, most) : usual));
  }

  /**
   * Parts that follow each other, from one body. Resolves to how many have arrived: a run ends early where neither bytes nor
   * blobs of more weight wait any more, since then a single connection is not enough.
   */
  async #receive(
    upload: Upload,
    run: readonly PartRange[],
    first: PartBuffer,
    opened: BlobBody | undefined,
  ): Promise<number> {
    const body = opened ?? (await this.#open(extentOf(run)));
    if (!body.ranged) throw rangeIgnored(this.#t.expected);
    let count = 1;
    const last = await this.#pour(body, first, async (part) => {
      const next = run[count];
      if (next === undefined) throw wrongLength(part, 'more');
      const stored = this.#land(upload, part);
      if (this.#stopIfLate() || !(this.#t.window.waiting > 1 || this.#isOutweighed())) return undefined;
      count += 1;
      return this.#inFlight.following(part, next.size, stored);
    });
    if (last === undefined) return count;
    if (!last.full || count < run.length) throw wrongLength(last, 'fewer');
    void this.#land(upload, last);
    return count;
  }

  async #stream(body: BlobBody, first: PartBuffer, size: number | undefined): Promise<void> {
    let upload: Upload | undefined;
    const last = await this.#pour(body, first, async (part) => {
      const until = part.number * this.#partSize;
      if (until >= (size ?? Infinity)) throw tooLong(this.#t.expected, size);
      if (part.number >= this.#t.store.limits.maxParts) throw tooLarge(this.#t.expected, until);
      upload ??= await this.#createUpload();
      const stored = this.#land(upload, part);
      if (this.#stopIfLate()) return undefined;
      return this.#inFlight.following(part, Math.min(this.#partSize, (size ?? Infinity) - until), stored);
    });
    if (last === undefined) return;
    if (upload !== undefined) void this.#land(upload, last);
    else {
      this.#inFlight.complete(last);
      this.#only = last;
    }
  }

  /**
   * Fills parts with a body, one after the other; `next` is asked for another one where a part is full and there is more.
   * Resolves to the last one; to nothing where there was no next one.
   */
  async #pour(
    body: BlobBody,
    first: PartBuffer,
    next: (full: PartBuffer) => Promise<PartBuffer | undefined>,
  ): Promise<PartBuffer | undefined> {
    let part: PartBuffer | undefined = first;
    for await (const chunk of body.body) {
      this.#t.onBytes(chunk.length);
      for (let rest = chunk; rest.length > 0; rest = rest.subarray(part.append(rest))) {
        if (!part.full) continue;
        part = await next(part);
        if (part === undefined) return undefined;
      }
      release(chunk);
    }
    return part;
  }

  /** Stores a part whose bytes have all come. It need not be waited for: the scope does. */
  #land(upload: Upload, part: PartBuffer): Promise<void> {
    this.#inFlight.complete(part);
    const stored = this.#store(upload, part);
    this.#scope.run(() => stored);
    return stored;
  }

  #isOutweighed(): boolean {
    return this.#t.window.isWanted(this.#inFlight.weight);
  }

  async #open(range: { readonly start: number; readonly end?: number }): Promise<BlobBody> {
    const body = await this.#t.source.open(range, { signal: this.#scope.signal });
    this.#bodies.push(body);
    return body;
  }

  async #store(upload: Upload, part: PartBuffer): Promise<void> {
    this.#parts.push(await this.#t.store.uploadPart(upload, part.number, part.bytes, { signal: this.#scope.signal }));
    this.#inFlight.stored(part);
    this.#t.onPart();
  }

  #stopIfLate(): boolean {
    this.#stopped ||= this.#t.deadline.near();
    return this.#stopped;
  }

  async #createUpload(): Promise<Upload> {
    this.#upload = await this.#t.store.createUpload(this.#t.key, {
      partSize: this.#partSize,
      signal: this.#scope.signal,
    });
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
