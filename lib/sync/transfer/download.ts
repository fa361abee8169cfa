/**
 * A fresh download. Ranges are fetched concurrently and hashed in order as they arrive. Each part is uploaded as soon
 * as it is full, and the upload is completed only after the digest matched.
 */
import { asFailure, Failure } from '../../core/failure.ts';
import { release } from '../../core/release.ts';
import { TaskGroup } from '../../core/task-group.ts';
import { type PartRange, ranges } from '../../store/parts.ts';
import type { Part, Upload } from '../../store/store.ts';
import { digestParts } from '../../oci/digest.ts';
import type { BlobBody } from '../../registry/source.ts';
import { type PartBuffer, wrongLength } from './part-buffer.ts';
import { PartsInFlight } from './parts-in-flight.ts';
import { type Expected, type Proof, Prover } from '../../proof/prover.ts';
import { extentOf, partSizeOf, rangeIgnored, type Transfer, type Transferred, waitedFor } from './transfer.ts';

/**
 * Fetches the whole blob. After a temporary failure the stored parts are kept; after any other failure they are
 * aborted.
 *
 * One connection from the first byte to the last serves a blob of a single part, one of unknown size, and a registry
 * that ignores ranges. Other blobs are fetched in as many concurrent ranges as the window and the host allow.
 */
export async function download(t: Transfer): Promise<Transferred> {
  return new Download(t).run();
}

/**
 * The most bytes that one request fetches: after a break they are requested again, and at a deadline they were
 * requested in vain.
 */
const RUN_BYTES = 64 * 1024 * 1024;

/** The factor by which the next request grows whenever a single connection proves fast enough. */
const GROWTH = 4;

/** Parts per request while other blobs wait for memory: large enough for few requests, small enough to take turns. */
const SHARED_PARTS = 4;

class Download {
  readonly #t: Transfer;
  readonly #partSize: number;
  readonly #tasks: TaskGroup;
  readonly #prover: Prover;
  readonly #inFlight: PartsInFlight;
  readonly #parts: Part[] = [];
  readonly #bodies: BlobBody[] = [];
  #upload: Upload | undefined;
  /** The whole blob, where it fits in one part: it is put at once, after it is proven. */
  #only: PartBuffer | undefined;
  #stopped = false;
  /** Whether the blob supports ranges, assumed until a body is open. */
  #resumable = true;

  constructor(t: Transfer) {
    this.#t = t;
    this.#partSize = partSizeOf(t);
    this.#tasks = new TaskGroup(AbortSignal.any([t.signal, t.deadline.over]));
    this.#prover = new Prover(t.expected, { maxUncompressed: t.maxUncompressed, strict: t.strict });
    this.#inFlight = new PartsInFlight(t.window, this.#prover, this.#tasks, t.expected.size ?? 0);
  }

  async run(): Promise<Transferred> {
    try {
      this.#tasks.run(() => this.#feed());
      await this.#tasks.join();
      if (this.#stopped) return { kind: 'continue', resumable: this.#resumable };
      const proof = await this.#prove();
      await this.#finish(proof);
      return proof.deferred === true ? { kind: 'assembled' } : { kind: 'proven', proof };
    } catch (error) {
      const late = error === this.#t.deadline.over.reason;
      const waited = late ? waitedFor(this.#tasks.thrown) : undefined;
      if (late && waited === undefined) return { kind: 'continue', resumable: this.#resumable };
      const failure = waited ?? asFailure(error, `copy blob ${this.#t.expected.digest}`, 'source');
      // If the archive requires a restart, another writer uses the same upload, which is left to that writer.
      const theirs = failure.remedy === 'restart' && failure.side === 'archive';
      if (failure.remedy !== 'retry' && !theirs) await this.#abandon();
      throw failure;
    } finally {
      await this.#tasks.close();
      // The prover may still be reading buffers that are given back.
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

  /** Fetches concurrently, or, for runs of more than one part, sequentially. */
  async #ranges(
    plan: readonly PartRange[],
    first: { readonly run: readonly PartRange[]; readonly part: PartBuffer; readonly body: BlobBody },
  ): Promise<void> {
    const upload = await this.#createUpload();
    let { run, part } = first;
    let opened: BlobBody | undefined = first.body;
    for (let next = 0; ;) {
      const receiving = this.#receive(upload, run, part, opened);
      this.#tasks.run(() => receiving.then(() => undefined));
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
   * The parts of the next request. Usually one. More where half of the window is full and waits to be hashed or stored,
   * since a single connection is fast enough then. More, too, where blobs of greater weight wait for memory: all memory
   * is in use, and a second connection for this blob would take one from them.
   */
  #runOf(plan: readonly PartRange[], from: number, count: number): readonly PartRange[] {
    const most = Math.max(Math.floor(RUN_BYTES / this.#partSize), 1);
    const usual = this.#isOutweighed() ? SHARED_PARTS : 1;
    return plan.slice(from, from + (this.#t.window.ahead ? Math.min(count, most) : usual));
  }

  /**
   * Receives consecutive parts from one body. Resolves to the number of parts that arrived. A run ends early once
   * neither bytes nor blobs of greater weight wait, since a single connection is not enough then.
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
   * Fills parts from a body, one after the other; calls `next` for another part when one is full and bytes remain.
   * Resolves to the last part, or to undefined where `next` returned none.
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

  /** Stores a complete part. The task group waits for it, so the caller need not. */
  #land(upload: Upload, part: PartBuffer): Promise<void> {
    this.#inFlight.complete(part);
    const stored = this.#store(upload, part);
    this.#tasks.run(() => stored);
    return stored;
  }

  #isOutweighed(): boolean {
    return this.#t.window.isWanted(this.#inFlight.weight);
  }

  async #open(range: { readonly start: number; readonly end?: number }): Promise<BlobBody> {
    const body = await this.#t.source.open(range, { signal: this.#tasks.signal });
    this.#bodies.push(body);
    return body;
  }

  async #store(upload: Upload, part: PartBuffer): Promise<void> {
    this.#parts.push(await this.#t.store.uploadPart(upload, part.number, part.bytes, { signal: this.#tasks.signal }));
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
      signal: this.#tasks.signal,
    });
    return this.#upload;
  }

  async #prove(): Promise<Proof> {
    try {
      return await this.#prover.finish();
    } catch (error) {
      const failure = asFailure(error, `verify blob ${this.#t.expected.digest}`, 'source');
      // Bytes from several responses may each be right and not belong together: that deserves another try from the
      // first byte.
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

  /** Aborts the upload, so that its parts are not continued. Best effort: the rest is removed by age. */
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

/** The failure of a blob of undeclared size, detected only when the parts are used up. */
function tooLarge(expected: Expected, most: number): Failure {
  return new Failure({
    operation: `copy blob ${expected.digest}`,
    side: 'archive',
    code: 'too-large',
    detail: `it declares no size, and has more than ${most} bytes, the most that the parts of an upload can hold`,
  });
}
