/**
 * Inflating and hashing the uncompressed bytes is the longest work of a layer, and cannot be divided. Large layers do it
 * on a thread of its own, while the main thread reads, hashes and stores the compressed bytes.
 *
 * The thread reads compressed bytes from shared memory, where `BufferPool` allocates its buffers. Other bytes are
 * copied.
 */
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { Failure, type FailureFields } from '../core/failure.ts';
import type { DiffIds } from './content.ts';
import type { Inflater, InflateOptions } from './inflater.ts';

type Call =
  | { readonly kind: 'open'; readonly options: InflateOptions }
  | { readonly kind: 'write'; readonly bytes: Uint8Array }
  | { readonly kind: 'end' | 'destroy' };

/** A call of an inflater of the thread. */
export type ToThread = Call & { readonly request: number; readonly inflater: number };

/** The result of that call. */
export interface FromThread {
  readonly request: number;
  readonly diffIds?: DiffIds | undefined;
  readonly failure?: FailureFields | undefined;
}

/** Beside this file in the sources; beside the bundle in a build (scripts/build.ts). */
const PROGRAM = new URL(
  import.meta.url.endsWith('.ts') ? 'inflating-worker.ts' : 'inflating-worker.mjs',
  import.meta.url,
);

class Thread {
  readonly #worker = new Worker(PROGRAM, {
    execArgv: [],
    name: 'inflating',
    resourceLimits: { maxYoungGenerationSizeMb: 2 },
  });
  readonly #calls = new Map<number, PromiseWithResolvers<FromThread>>();
  #requests = 0;
  #broken: Failure | undefined;
  /** The number of inflaters that are not destroyed. */
  load = 0;

  constructor() {
    // The thread keeps the process alive only while a call waits for its result.
    this.#worker.unref();
    this.#worker.on('message', (result: FromThread) => {
      this.#settle(result.request, (call) => {
        call.resolve(result);
      });
    });
    this.#worker.on('error', (error: unknown) => {
      this.#break(error instanceof Error ? error.message : String(error));
    });
    this.#worker.on('exit', (code) => {
      this.#break(`exit code ${code}`);
    });
  }

  get isBroken(): boolean {
    return this.#broken !== undefined;
  }

  async call(inflater: number, call: Call, transfer: ArrayBuffer[] = []): Promise<FromThread> {
    if (this.#broken !== undefined) throw this.#broken;
    const request = (this.#requests += 1);
    const result = Promise.withResolvers<FromThread>();
    if (this.#calls.size === 0) this.#worker.ref();
    this.#calls.set(request, result);
    this.#worker.postMessage({ ...call, request, inflater } satisfies ToThread, transfer);
    const { failure, ...rest } = await result.promise;
    if (failure !== undefined) throw new Failure(failure);
    return rest;
  }

  #settle(request: number, settle: (call: PromiseWithResolvers<FromThread>) => void): void {
    const call = this.#calls.get(request);
    this.#calls.delete(request);
    if (this.#calls.size === 0) this.#worker.unref();
    if (call !== undefined) settle(call);
  }

  #break(detail: string): void {
    const broken = (this.#broken ??= new Failure({
      operation: 'inflate',
      side: 'archive',
      code: 'internal',
      detail: `the thread ended: ${detail}`,
    }));
    for (const request of [...this.#calls.keys()])
      this.#settle(request, (call) => {
        call.reject(broken);
      });
  }
}

/** One processor stays free for the main thread; more threads would need more memory than they save time. */
const MAX_THREADS = Math.min(Math.max(availableParallelism() - 1, 1), 4);

let threads: readonly Thread[] = [];
let inflaters = 0;

/** The thread with the least work; a new thread as long as there are enough processors. */
function nextThread(): Thread {
  threads = threads.filter(({ isBroken }) => !isBroken);
  const [best] = threads.toSorted((a, b) => a.load - b.load);
  if (best !== undefined && (best.load === 0 || threads.length >= MAX_THREADS)) return best;
  const made = new Thread();
  threads = [...threads, made];
  return made;
}

export class ThreadInflater implements Inflater {
  readonly #thread = nextThread();
  readonly #id = (inflaters += 1);
  #destroyed: Promise<void> | undefined;

  constructor(options: InflateOptions) {
    this.#thread.load += 1;
    // A failure of the thread rejects the next call as well.
    this.#thread.call(this.#id, { kind: 'open', options }).catch(() => undefined);
  }

  async write(chunk: Uint8Array): Promise<void> {
    const isShared = chunk.buffer instanceof SharedArrayBuffer;
    const bytes = isShared ? chunk : Uint8Array.from(chunk);
    await this.#thread.call(this.#id, { kind: 'write', bytes }, isShared ? [] : [bytes.buffer as ArrayBuffer]);
  }

  async end(): Promise<DiffIds> {
    const { diffIds } = await this.#thread.call(this.#id, { kind: 'end' });
    return diffIds ?? {};
  }

  destroy(): Promise<void> {
    this.#destroyed ??= this.#destroy();
    return this.#destroyed;
  }

  async #destroy(): Promise<void> {
    // Nothing reads the bytes once the thread has ended.
    await this.#thread.call(this.#id, { kind: 'destroy' }).catch(() => undefined);
    this.#thread.load -= 1;
  }
}
