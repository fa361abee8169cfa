import { Semaphore } from '../../../lib/core/semaphore.ts';
import { type Invocation, Sandbox, type SandboxOptions } from './sandbox.ts';

export interface LambdaOptions extends Omit<SandboxOptions, 'onLog'> {
  /** Sandboxes at once; who asks for more waits. 10 unless told. */
  readonly concurrency?: number;
}

/** A Lambda function: sandboxes that are started as they are needed, and used again as long as they live. */
export class LambdaFunction implements AsyncDisposable {
  readonly #options: LambdaOptions;
  readonly #permits: Semaphore;
  readonly #idle: Sandbox[] = [];
  readonly #busy = new Set<Sandbox>();
  /** What became of each event, in the order in which that was known. */
  readonly invocations: Invocation[] = [];
  /** What was written to standard output and standard error. */
  readonly logs: string[] = [];
  #written = Promise.withResolvers<void>();

  constructor(options: LambdaOptions) {
    this.#options = options;
    this.#permits = new Semaphore(options.concurrency ?? 10);
  }

  /** The sandboxes that handle an event right now. */
  get running(): number {
    return this.#busy.size;
  }

  invoke(event: unknown): Promise<Invocation> {
    return this.#permits.with(async () => {
      const sandbox = await this.#sandbox();
      this.#busy.add(sandbox);
      const invocation = await sandbox.invoke(event);
      this.#busy.delete(sandbox);
      this.invocations.push(invocation);
      if (sandbox.alive) this.#idle.push(sandbox);
      else await sandbox.close();
      return invocation;
    });
  }

  /**
   * Resolves when the log is as the caller expects it. The answer of an invocation comes over HTTP and its log over a pipe,
   * so that the last lines may arrive after the answer.
   */
  async logged(isExpected: (lines: readonly string[]) => boolean): Promise<void> {
    while (!isExpected(this.logs)) await this.#written.promise;
  }

  /** Ends every sandbox that has nothing to do, so that the next event meets a cold one. */
  async cool(): Promise<void> {
    await Promise.all(this.#idle.splice(0).map((sandbox) => sandbox.close()));
  }

  /** Kills every sandbox that handles an event right now, as a crash would. */
  kill(): void {
    for (const sandbox of this.#busy) sandbox.kill();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.kill();
    await Promise.all([...this.#idle, ...this.#busy].map((sandbox) => sandbox.close()));
  }

  async #sandbox(): Promise<Sandbox> {
    // The one that was used last is the warmest.
    const warm = this.#idle.pop();
    const onLog = (line: string): void => {
      this.logs.push(line);
      this.#written.resolve();
      this.#written = Promise.withResolvers();
    };
    return warm ?? Sandbox.start({ ...this.#options, onLog });
  }
}
