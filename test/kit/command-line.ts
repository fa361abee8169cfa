/** The command line as users run it: a separate process with its exit code and output. */
import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import type { Summary } from '../../lib/app/outcomes.ts';

/** The path of the program, for tests that start it differently. */
export const MAIN = join(import.meta.dirname, '../../lib/cli/main.ts');

export interface Ended {
  /** The exit code, or the name of the signal that ended it. */
  readonly code: number | NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Running extends AsyncDisposable {
  readonly process: ChildProcess;
  /** Resolves when it has ended and all of its output has arrived. */
  readonly ended: Promise<Ended>;
}

/** The last line of `sync --json`. */
export type SyncSummary = Summary & { readonly type: 'summary' };

export type Environment = Readonly<Record<string, string>>;

/** Starts it without the registry credentials of the tester. */
export function startMirrorSync(args: readonly string[], env: Environment = {}, cwd = process.cwd()): Running {
  const {
    DOCKER_CONFIG: _docker,
    REGISTRY_AUTH_FILE: _authfile,
    XDG_RUNTIME_DIR: _runtime,
    ...inherited
  } = process.env;
  const child = spawn(process.execPath, [MAIN, ...args], {
    cwd,
    env: { ...inherited, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const closed = new Promise<number | NodeJS.Signals | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => {
      resolve(code ?? signal);
    });
  });
  const ended = Promise.all([closed, text(child.stdout), text(child.stderr)]).then(([code, stdout, stderr]) => ({
    code,
    stdout,
    stderr,
  }));
  return {
    process: child,
    ended,
    // Ends the process if a test fails before it.
    [Symbol.asyncDispose]: async () => {
      child.kill('SIGKILL');
      await ended;
    },
  };
}

export function mirrorSync(args: readonly string[], env: Environment = {}, cwd = process.cwd()): Promise<Ended> {
  return startMirrorSync(args, env, cwd).ended;
}

/** The objects that `--json` prints, one per line. */
export function jsonLines({ stdout }: Ended): unknown[] {
  return stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as unknown);
}

export function summaryOf(ended: Ended): SyncSummary {
  const last = jsonLines(ended).at(-1) as SyncSummary | undefined;
  if (last?.type !== 'summary') throw new Error(`no summary, but:\n${ended.stdout}${ended.stderr}`);
  return last;
}
