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
  /** The function's environment contains only this and the variables of Lambda itself. */
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
  /** Milliseconds from the start of the process to its first request for an event; for a sandbox's first invocation. */
  readonly initMs: number | undefined;
  /** The peak memory of the process so far, in bytes, if the system reports it. */
  readonly peakBytes: number | undefined;
  /**
   * The processor time of all threads in milliseconds, including the start for a first invocation, if the system
   * reports it.
   */
  readonly cpuMs: number | undefined;
}

/** A process that has ended must not leave a stopped child behind. */
const living = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of living) child.kill('SIGKILL');
});

/**
 * One execution environment of a function, as Lambda runs it: a process that is started for its first event, reused for
 * others, frozen between them, and killed when an event takes too long.
 */
export class Sandbox {
  readonly #options: SandboxOptions;
  readonly #api: RuntimeApi;
  readonly #child: ChildProcess;
  readonly #started: number;
  readonly #exited: Promise<unknown>;
  #initMs: number | undefined;
  #warm = false;
  /** The processor time so far, in milliseconds. */
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

  /** Whether the process is alive and can handle another event. */
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

  /** Kills the process at any point. */
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

  /** The time since the last call. */
  #cpuMs(): number | undefined {
    const before = this.#cpu ?? 0;
    this.#cpu = cpuMs(this.#child.pid);
    return this.#cpu && this.#cpu - before;
  }

  /** Lambda freezes an idle sandbox: remaining work pauses until the next event. */
  #asked(): void {
    this.#initMs ??= performance.now() - this.#started;
    this.#child.kill('SIGSTOP');
  }
}

/** V8's flags for a function with this memory in MiB: the heap may use most of it. */
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
    // This folder does not exist, so the process sees nothing of the tester.
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

/** The processor time of each thread by the kernel's scheduler, in nanoseconds. */
function cpuMs(pid: number | undefined): number | undefined {
  const tasks = `/proc/${pid ?? ''}/task`;
  try {
    const times = readdirSync(tasks).map((id) => parseInt(readFileSync(join(tasks, id, 'schedstat'), 'utf8'), 10));
    return times.reduce((sum, time) => sum + time, 0) / 1e6;
  } catch {
    return undefined;
  }
}
