import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { type Outcome, RuntimeApi, type RuntimeError } from './runtime-api.ts';

const BOOTSTRAP = join(import.meta.dirname, 'bootstrap.js');

export interface SandboxOptions {
  readonly name: string;
  /** Path of the bundle, `…/index.mjs`, which exports `handler`. */
  readonly bundle: string;
  /** Nothing else is in the function's environment but what Lambda itself puts there. */
  readonly environment: Readonly<Record<string, string>>;
  readonly timeoutMs: number;
  /** MiB. */
  readonly memory: number;
  readonly onLog: (line: string) => void;
}

export interface Invocation {
  readonly event: unknown;
  readonly outcome: Outcome;
  /** Milliseconds from the event to its outcome. */
  readonly durationMs: number;
  /** Milliseconds from the start of the process to its first question for an event; of a sandbox's first invocation. */
  readonly initMs: number | undefined;
  /** The most memory that the process has had so far, in bytes; where the system tells. */
  readonly peakBytes: number | undefined;
  /** The processor time of all its threads, a first invocation's with its start, in milliseconds; where the system tells. */
  readonly cpuMs: number | undefined;
}

/** A process that is gone must not leave one behind that sleeps for ever. */
const living = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of living) child.kill('SIGKILL');
});

/**
 * One execution environment of a function, as Lambda runs it: a process that is started for its first event, kept for
 * others, frozen between them, and killed when one takes too long or the process ends by itself.
 */
export class Sandbox {
  readonly #options: SandboxOptions;
  readonly #api: RuntimeApi;
  readonly #child: ChildProcess;
  readonly #started: number;
  readonly #exited: Promise<unknown>;
  #initMs: number | undefined;
  #warm = false;
  /** Processor time until now, in milliseconds. */
  #cpu: number | undefined;
  #initError: RuntimeError | undefined;
  #killedFor: RuntimeError | undefined;

  private constructor(options: SandboxOptions, api: RuntimeApi) {
    this.#options = options;
    this.#api = api;
    this.#started = performance.now();
    this.#child = spawn(process.execPath, [...flagsFor(options.memory), BOOTSTRAP], {
      cwd: dirname(options.bundle),
      env: { ...lambdaEnvironment(options), AWS_LAMBDA_RUNTIME_API: api.address, ...options.environment },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    living.add(this.#child);
    for (const stream of [this.#child.stdout, this.#child.stderr])
      createInterface({ input: stream! }).on('line', options.onLog);
    this.#exited = once(this.#child, 'exit');
    this.#child.once('exit', (code, signal) => {
      living.delete(this.#child);
      const how = signal === null ? `exit status ${code ?? 0}` : `signal: ${signal}`;
      const error = this.#killedFor ??
        this.#initError ?? { errorType: 'Runtime.ExitError', errorMessage: `Runtime exited with error: ${how}` };
      this.#api.settle({ error });
    });
  }

  static async start(options: SandboxOptions): Promise<Sandbox> {
    const api = await RuntimeApi.start({
      functionArn: `arn:aws:lambda:eu-central-1:000000000000:function:${options.name}`,
      onIdle: () => {
        sandbox.#asked();
      },
      onInitError: (error) => {
        sandbox.#initError = error;
      },
    });
    const sandbox = new Sandbox(options, api);
    return sandbox;
  }

  /** Whether it can take another event: its process is alive. */
  get alive(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  async invoke(event: unknown): Promise<Invocation> {
    const warm = this.#warm;
    this.#warm = true;
    const { timeoutMs } = this.#options;
    let sent = performance.now();
    let timer: NodeJS.Timeout | undefined;
    const onSent = (): void => {
      this.#initMs ??= performance.now() - this.#started;
      this.#child.kill('SIGCONT');
      sent = performance.now();
      timer = setTimeout(() => {
        const errorMessage = `Task timed out after ${(timeoutMs / 1000).toFixed(2)} seconds`;
        this.#killedFor = { errorType: 'Sandbox.Timedout', errorMessage };
        this.#child.kill('SIGKILL');
      }, timeoutMs);
    };
    const outcome = this.alive
      ? await this.#api.invoke(event, { timeoutMs, onSent })
      : { error: { errorType: 'Runtime.ExitError', errorMessage: 'the sandbox is gone' } };
    clearTimeout(timer);
    return {
      event,
      outcome,
      durationMs: performance.now() - sent,
      initMs: warm ? undefined : this.#initMs,
      peakBytes: peakBytes(this.#child.pid),
      cpuMs: this.#cpuMs(),
    };
  }

  /** Ends the process at once, wherever it is. */
  kill(): void {
    this.#child.kill('SIGKILL');
  }

  async close(): Promise<void> {
    if (this.alive) {
      this.kill();
      await this.#exited;
    }
    await this.#api[Symbol.asyncDispose]();
  }

  /** Since this was last asked. */
  #cpuMs(): number | undefined {
    const before = this.#cpu ?? 0;
    this.#cpu = cpuMs(this.#child.pid);
    return this.#cpu && this.#cpu - before;
  }

  /** Lambda freezes a sandbox that has nothing to do: what it left running stands still until the next event. */
  #asked(): void {
    this.#initMs ??= performance.now() - this.#started;
    this.#child.kill('SIGSTOP');
  }
}

/** Lets Node.js fill most of a function's memory before its process has all of it, in MiB. */
export function flagsFor(memory: number): string[] {
  const [old, young] = [Math.floor(memory * 0.9), Math.max(1, Math.floor(memory * 0.05))];
  return [`--max-old-space-size=${old}`, `--max-semi-space-size=${young}`];
}

/** AWS Lambda, "Defined runtime environment variables". */
function lambdaEnvironment({ name, bundle, memory }: SandboxOptions): Record<string, string> {
  return {
    _HANDLER: 'index.handler',
    LAMBDA_TASK_ROOT: dirname(bundle),
    AWS_EXECUTION_ENV: 'AWS_Lambda_nodejs24.x',
    AWS_LAMBDA_FUNCTION_NAME: name,
    AWS_LAMBDA_FUNCTION_VERSION: '$LATEST',
    AWS_LAMBDA_FUNCTION_MEMORY_SIZE: String(memory),
    AWS_LAMBDA_INITIALIZATION_TYPE: 'on-demand',
    AWS_LAMBDA_LOG_GROUP_NAME: `/aws/lambda/${name}`,
    AWS_LAMBDA_LOG_STREAM_NAME: 'sandbox',
    AWS_REGION: 'eu-central-1',
    // There is no such folder, and so nothing of the tester's in it.
    HOME: '/home/sbx_user1051',
    LANG: 'en_US.UTF-8',
    PATH: '/usr/local/bin:/usr/bin:/bin',
    TZ: ':UTC',
  };
}

function peakBytes(pid: number | undefined): number | undefined {
  try {
    const status = readFileSync(`/proc/${pid ?? ''}/status`, 'utf8');
    const [, kibibytes] = /^VmHWM:\s+(\d+) kB$/m.exec(status) ?? [];
    return kibibytes === undefined ? undefined : Number(kibibytes) * 1024;
  } catch {
    return undefined;
  }
}

/** What the kernel's scheduler has counted for each thread, in nanoseconds. */
function cpuMs(pid: number | undefined): number | undefined {
  const tasks = `/proc/${pid ?? ''}/task`;
  try {
    const times = readdirSync(tasks).map((id) => parseInt(readFileSync(join(tasks, id, 'schedstat'), 'utf8'), 10));
    return times.reduce((sum, time) => sum + time, 0) / 1e6;
  } catch {
    return undefined;
  }
}
