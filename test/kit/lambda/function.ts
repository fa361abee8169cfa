import { Semaphore } from '../../../lib/core/semaphore.ts';
import { type Invocation, Sandbox, type SandboxOptions } from './sandbox.ts';

export interface LambdaOptions extends Omit<SandboxOptions, 'onLog'> {
  /** The number of concurrent sandboxes; further events wait. 10 by default. */
  readonly concurrency?: number;
}

/** A Lambda function: sandboxes are started on demand, and reused as long as they live. */
export class LambdaFunction implements AsyncDisposable {
  readonly #options: LambdaOptions;
  readonly #permits: Semaphore;
  readonly #idle: Sandbox[] = [];
  readonly #busy = new Set<Sandbox>();
  /** The outcome of each event, in the order of their ends. */
  readonly invocations: Invocation[] = [];
  /** The content of standard output and standard error. */
  readonly logs: string[] = [];
  #written = Promise.withResolvers<void>();

  constructor(options: LambdaOptions) {
    this.#options = options;
    this.#permits = new Semaphore(options.concurrency ?? 10);
  }

  /** The sandboxes that are handling an event. */
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
   * Resolves when the log is as the caller expects it. The response of an invocation arrives over HTTP and its log over a
   * pipe, so the last lines may arrive after the response.
   */
  async logged(isExpected: (lines: readonly string[]) => boolean): Promise<void> {
    while (!isExpected(this.logs)) await this.#written.promise;
  }

  /** Ends every idle sandbox, so that the next event meets a cold one. */
  async cool(): Promise<void> {
    await Promise.all(this.#idle.splice(0).map((sandbox) => sandbox.close()));
  }

  /** Kills every sandbox that is handling an event, as a crash would. */
  kill(): void {
    for (const sandbox of this.#busy) sandbox.kill();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.kill();
    await Promise.all([...this.#idle, ...this.#busy].map((sandbox) => sandbox.close()));
  }

  async #sandbox(): Promise<Sandbox> {
    // The most recently used sandbox is the warmest.
    const warm = this.#idle.pop();
    const onLog = (line: string): void => {
      this.logs.push(line);
      this.#written.resolve();
      this.#written = Promise.withResolvers();
    };
    return warm ?? Sandbox.start({ ...this.#options, onLog });
  }
}
