/**
 * Inflating is the longest single piece of work of a layer, and cannot be divided. It gets its own thread, which hands
 * the uncompressed bytes to the main thread, which reads and hashes. Both work for about the same time.
 *
 * Compressed bytes go to the thread in shared memory (`window.ts` allocates its buffers there), and uncompressed bytes
 * come back in a shared ring of the thread, without copies and allocations. A thread stops while every slot of its ring
 * waits to be hashed.
 */
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { Failure, type FailureFields } from '../core/failure.ts';
import type { Inflater, Sink } from './inflater.ts';
import type { Compressed } from './sync-inflate.ts';

/**
 * A message to an inflater of the thread. `wanted` is 1 until its output is not needed any more. Each but `open` is
 * answered with `done`, in order.
 */
export type ToThread = { readonly inflater: number } & (
  | { readonly kind: 'open'; readonly compression: Compressed; readonly windowLog: number; readonly wanted: Int32Array }
  | { readonly kind: 'write'; readonly bytes: Uint8Array }
  | { readonly kind: 'end' | 'destroy' }
);

/**
 * A message from an inflater. `out`: the first `length` bytes of that slot, which must be taken, even if they are not
 * wanted.
 */
export type FromThread = { readonly inflater: number } & (
  | { readonly kind: 'out'; readonly slot: number; readonly length: number }
  | { readonly kind: 'done'; readonly failure?: FailureFields }
);

/** The data that a thread gets at its start. */
export interface Ring {
  readonly memory: SharedArrayBuffer;
  /** The number of slots that were taken so far. */
  readonly taken: Int32Array;
}

/** Bytes that are inflated at once; half as many cost a tenth more time, and twice as many save none. */
const SLOT_BYTES = 128 * 1024;

/**
 * The slots that a thread may be ahead of the main thread, which also serves sockets and files: with a few slots, all
 * are full at times.
 */
export const SLOTS = 32;

/** Slots are used in turn; their number counts from the beginning. */
export function slot(memory: SharedArrayBuffer, number: number, length = SLOT_BYTES): Uint8Array {
  return new Uint8Array(memory, (number % SLOTS) * SLOT_BYTES, length);
}

/** Beside this file in the sources; beside the bundle in a build (scripts/build.ts). */
const PROGRAM = new URL(
  import.meta.url.endsWith('.ts') ? 'inflating-worker.ts' : 'inflating-worker.mjs',
  import.meta.url,
);

class Thread {
  readonly #ring: Ring = {
    memory: new SharedArrayBuffer(SLOTS * SLOT_BYTES),
    taken: new Int32Array(new SharedArrayBuffer(4)),
  };
  readonly #worker = new Worker(PROGRAM, {
    execArgv: [],
    name: 'inflating',
    resourceLimits: { maxYoungGenerationSizeMb: 2 },
    workerData: this.#ring,
  });
  readonly inflaters = new Map<number, ThreadInflater>();
  #waiting = 0;
  broken: Failure | undefined;

  constructor() {
    // The thread keeps the process alive only while a caller waits for it.
    this.#worker.unref();
    this.#worker.on('message', (message: FromThread) => {
      this.#onMessage(message);
    });
    this.#worker.on('error', (error: unknown) => {
      this.#break(error);
    });
    this.#worker.on('exit', (code) => {
      this.#break(`it ended with code ${code}`);
    });
  }

  send(message: ToThread, transfer: ArrayBuffer[] = []): void {
    this.#worker.postMessage(message, transfer);
  }

  hold(): void {
    this.#waiting += 1;
    if (this.#waiting === 1) this.#worker.ref();
  }

  release(): void {
    this.#waiting -= 1;
    if (this.#waiting === 0) this.#worker.unref();
  }

  #onMessage(message: FromThread): void {
    const inflater = this.inflaters.get(message.inflater);
    if (message.kind === 'done') inflater?.onDone(message.failure);
    else {
      const { memory, taken } = this.#ring;
      inflater?.onOut(slot(memory, message.slot, message.length));
      Atomics.add(taken, 0, 1);
      Atomics.notify(taken, 0);
    }
  }

  #break(cause: unknown): void {
    this.broken ??= new Failure({
      operation: 'inflate',
      side: 'archive',
      code: 'internal',
      detail: `the thread that inflates is gone: ${cause instanceof Error ? cause.message : String(cause)}`,
      cause,
    });
    for (const inflater of this.inflaters.values()) inflater.onBroken(this.broken);
  }
}

/** One processor stays free for reading and hashing; more threads would need more memory than they save time. */
const MAX_THREADS = Math.min(Math.max(availableParallelism() - 1, 1), 4);

const threads: Thread[] = [];
let count = 0;

/** The thread with the least work; a new one while there are processors for it. */
function thread(): Thread {
  for (let at = threads.length - 1; at >= 0; at -= 1) if (threads[at]?.broken !== undefined) threads.splice(at, 1);
  let best = threads[0];
  for (const each of threads) if (each.inflaters.size < (best?.inflaters.size ?? 0)) best = each;
  if (best !== undefined && (best.inflaters.size === 0 || threads.length >= MAX_THREADS)) return best;
  const made = new Thread();
  threads.push(made);
  return made;
}

export function inflateOnThread(compression: Compressed, windowLog: number, sink: Sink): Inflater {
  return new ThreadInflater(thread(), { compression, windowLog }, sink);
}

const GIVEN_UP = new Failure({
  operation: 'inflate',
  side: 'archive',
  code: 'internal',
  detail: 'it has been given up',
});

class ThreadInflater implements Inflater {
  readonly #thread: Thread;
  readonly #sink: Sink;
  readonly #id: number;
  readonly #wanted = new Int32Array(new SharedArrayBuffer(4)).fill(1);
  #failure: unknown;
  #destroyed: Promise<void> | undefined;
  /** The callbacks of requests, in this order. */
  readonly #asked: (() => void)[] = [];

  constructor(on: Thread, codec: { readonly compression: Compressed; readonly windowLog: number }, sink: Sink) {
    this.#thread = on;
    this.#sink = sink;
    this.#id = count += 1;
    on.inflaters.set(this.#id, this);
    on.send({ kind: 'open', inflater: this.#id, ...codec, wanted: this.#wanted });
  }

  write(chunk: Uint8Array): Promise<void> {
    return this.#ask(() => {
      if (chunk.buffer instanceof SharedArrayBuffer) {
        this.#thread.send({ kind: 'write', inflater: this.#id, bytes: chunk });
        return;
      }
      const bytes = Uint8Array.from(chunk);
      this.#thread.send({ kind: 'write', inflater: this.#id, bytes }, [bytes.buffer]);
    });
  }

  end(): Promise<void> {
    return this.#ask(() => {
      this.#thread.send({ kind: 'end', inflater: this.#id });
    });
  }

  destroy(): Promise<void> {
    this.#destroyed ??= this.#destroy();
    return this.#destroyed;
  }

  /** Earlier requests end soon, since their output is not wanted any more. */
  async #destroy(): Promise<void> {
    this.#giveUp();
    if (this.#thread.broken === undefined)
      await this.#exchange(() => {
        this.#thread.send({ kind: 'destroy', inflater: this.#id });
      });
    this.#thread.inflaters.delete(this.#id);
  }

  onDone(failure: FailureFields | undefined): void {
    if (failure !== undefined && this.#destroyed === undefined) this.#failure ??= new Failure(failure);
    this.#asked.shift()?.();
  }

  onOut(chunk: Uint8Array): void {
    if (this.#failure !== undefined || this.#destroyed !== undefined) return;
    try {
      this.#sink(chunk);
    } catch (error) {
      this.#failure = error;
      this.#giveUp();
    }
  }

  onBroken(failure: Failure): void {
    this.#failure ??= failure;
    this.#settleAll();
  }

  async #ask(work: () => void): Promise<void> {
    this.#failure ??= this.#thread.broken ?? (this.#destroyed === undefined ? undefined : GIVEN_UP);
    if (this.#failure === undefined) await this.#exchange(work);
    if (this.#failure !== undefined) throw this.#failure as Error;
  }

  /** Sends a request that the thread answers with `done`. */
  async #exchange(work: () => void): Promise<void> {
    this.#thread.hold();
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#asked.push(resolve);
    work();
    await promise;
    this.#thread.release();
  }

  #settleAll(): void {
    for (const settle of this.#asked.splice(0)) settle();
  }

  /** Ends what the thread does for it. */
  #giveUp(): void {
    Atomics.store(this.#wanted, 0, 0);
  }
}
