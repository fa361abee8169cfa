import { release } from '../../core/release.ts';
import { TaskGroup } from '../../core/task-group.ts';
import type { Prover } from '../../proof/prover.ts';
import type { BlobBody } from '../../registry/source.ts';
import type { PartRange } from '../../store/parts.ts';
import type { Part, Upload } from '../../store/store.ts';
import { isFastEnough, nextRequest } from './next-request.ts';
import { type PartBuffer, wrongLength } from './part-buffer.ts';
import { PartsInFlight } from './parts-in-flight.ts';
import { extentOf, ofRange, rangeIgnored, type Transfer, waitedFor } from './transfer.ts';

/** Fetches parts of a blob into an upload, for `download` and `resume`. */
export class PartFetcher {
  readonly inFlight: PartsInFlight;
  /** The parts that this fetcher has stored, in the order of completion. */
  readonly stored: Part[] = [];
  readonly bodies: BlobBody[] = [];
  readonly #t: Transfer;
  readonly #tasks: TaskGroup;
  #isLate = false;

  /** @param prover hashes all parts in order; missing where the bytes are read back later */
  constructor(t: Transfer, prover?: Prover) {
    this.#t = t;
    this.#tasks = new TaskGroup(AbortSignal.any([t.signal, t.deadline.over]));
    this.inFlight = new PartsInFlight(t.buffers, this.#tasks, prover, t.registry);
  }

  get signal(): AbortSignal {
    return this.#tasks.signal;
  }

  /**
   * Runs `work` and everything that it starts. Resolves to whether all of it was done: near the deadline, nothing new is
   * begun, and at the deadline the rest is aborted.
   */
  async run(work: () => Promise<void>): Promise<boolean> {
    try {
      this.#tasks.run(work);
      await this.#tasks.join();
      return !this.#isLate;
    } catch (error) {
      if (error !== this.#t.deadline.over.reason) throw error;
      const waited = waitedFor(this.#tasks.thrown);
      if (waited !== undefined) throw waited;
      return false;
    }
  }

  /** Ends all tasks. The buffers are given back separately, when the prover does not read them any more. */
  async close(): Promise<void> {
    await this.#tasks.close();
  }

  /**
   * Fetches parts in requests of consecutive parts (`nextRequest`): requests for one part concurrently, larger ones
   * sequentially.
   *
   * @param missing in ascending order
   * @param first the first part, whose request is open already
   */
  async fetch(
    upload: Upload,
    missing: readonly PartRange[],
    first?: { readonly part: PartBuffer; readonly body: BlobBody },
  ): Promise<void> {
    let at = 0;
    for (const range of missing) {
      // An earlier request has fetched it.
      if (range !== missing[at]) continue;
      const opened = at === 0 ? first : undefined;
      const part = opened?.part ?? (await this.inFlight.take(range));
      if (opened === undefined && this.isLate()) {
        this.inFlight.complete(part);
        return;
      }
      const request = opened === undefined ? nextRequest(missing, at, this.#t.buffers) : [range];
      const receiving = this.#receive(upload, request, part, opened?.body).catch((error: unknown) => {
        throw ofRange(error);
      });
      this.#tasks.run(() => receiving.then(() => undefined));
      at += request.length === 1 ? 1 : await receiving;
    }
  }

  /** Opens a body, which is closed when this fetcher ends. */
  async open(range: { readonly start: number; readonly end?: number }): Promise<BlobBody> {
    const body = await this.#t.source.open(range, { signal: this.signal });
    this.bodies.push(body);
    return body;
  }

  /**
   * Fills parts from a body, one after the other. Calls `next` for another part when one is full and bytes remain.
   * Resolves to the last part, or to undefined where `next` returned none.
   */
  async pour(
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

  /** Stores a complete part. The task group waits for it. */
  store(upload: Upload, part: PartBuffer): void {
    this.inFlight.complete(part);
    const storing = this.#upload(upload, part);
    this.#tasks.run(() => this.inFlight.release(part, storing));
  }

  /** Whether the deadline is near. Once it is near, the fetcher begins no new part. */
  isLate(): boolean {
    this.#isLate ||= this.#t.deadline.near();
    return this.#isLate;
  }

  /** Receives consecutive parts from one body. Resolves to the number of parts that arrived. */
  async #receive(upload: Upload, request: readonly PartRange[], first: PartBuffer, opened?: BlobBody): Promise<number> {
    const body = opened ?? (await this.open(extentOf(request)));
    if (!body.ranged) throw rangeIgnored(this.#t.expected);
    let count = 1;
    const last = await this.pour(body, first, async (part) => {
      const next = request[count];
      if (next === undefined) throw wrongLength(part, 'more');
      this.store(upload, part);
      if (this.isLate() || !isFastEnough(part.buffer.length, this.#t.buffers)) return undefined;
      count += 1;
      return this.inFlight.following(next);
    });
    if (last === undefined) return count;
    if (!last.full || count < request.length) throw wrongLength(last, 'fewer');
    this.store(upload, last);
    return count;
  }

  async #upload(upload: Upload, part: PartBuffer): Promise<void> {
    this.stored.push(await this.#t.store.uploadPart(upload, part.number, part.bytes, { signal: this.signal }));
    this.#t.onPart();
  }
}
