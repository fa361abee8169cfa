/**
 * A comparison with a bcrypt hash occupies a processor for at least 0.1 s. It runs on a thread, one comparison at a
 * time, so that a flood of logins does not stop the responses to clients that are logged in.
 */
import { Worker } from 'node:worker_threads';
import { Failure } from '../core/failure.ts';

export interface ToThread {
  readonly request: number;
  readonly password: string;
  readonly hash: string;
}

export interface FromThread {
  readonly request: number;
  readonly matches: boolean;
}

/** Beside this file in the sources; beside the bundle in a build (scripts/build.ts). */
const PROGRAM = new URL(import.meta.url.endsWith('.ts') ? 'bcrypt-worker.ts' : 'bcrypt-worker.mjs', import.meta.url);

export class BcryptThread {
  #worker: Worker | undefined;
  readonly #calls = new Map<number, PromiseWithResolvers<boolean>>();
  #requests = 0;

  async compare(password: string, hash: string): Promise<boolean> {
    const worker = (this.#worker ??= this.#start());
    const request = (this.#requests += 1);
    const result = Promise.withResolvers<boolean>();
    this.#calls.set(request, result);
    worker.ref();
    worker.postMessage({ request, password, hash } satisfies ToThread);
    try {
      return await result.promise;
    } finally {
      this.#calls.delete(request);
      // The thread keeps the process alive only while a call waits for its result.
      if (this.#calls.size === 0) worker.unref();
    }
  }

  #start(): Worker {
    const worker = new Worker(PROGRAM, { execArgv: [], name: 'bcrypt' });
    worker.on('message', ({ request, matches }: FromThread) => this.#calls.get(request)?.resolve(matches));
    worker.on('error', (error: unknown) => {
      this.#end(worker, error instanceof Error ? error.message : String(error));
    });
    worker.on('exit', (code) => {
      this.#end(worker, `exit code ${code}`);
    });
    return worker;
  }

  /** The next call starts another thread. A thread that fails reports its end too. */
  #end(worker: Worker, detail: string): void {
    if (this.#worker !== worker) return;
    this.#worker = undefined;
    const fields = { operation: 'check password', side: 'input', code: 'internal' } as const;
    for (const { reject } of this.#calls.values())
      reject(new Failure({ ...fields, detail: `the thread ended: ${detail}` }));
    this.#calls.clear();
  }
}
