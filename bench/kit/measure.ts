import { spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { tempFolder } from '../../test/kit/temp.ts';

export interface Command {
  readonly argv: readonly string[];
  /** Added to a bare environment: PATH, and a HOME that is empty. */
  readonly env?: Readonly<Record<string, string>>;
  /** The time after which the command is ended. Default: ten minutes. */
  readonly limitSeconds?: number;
}

/** The time and memory of one run of a command. */
export interface Sample {
  /** False if it was ended at its limit. */
  readonly inTime: boolean;
  readonly wallSeconds: number;
  /** User and system, of the command and every process that it waited for. */
  readonly cpuSeconds: number;
  /** Resident memory of the largest of its processes at its peak, in bytes. */
  readonly peakBytes: number;
}

const LIMIT_SECONDS = 600;
const SCRIPT = join(import.meta.dirname, 'measure.py');

/** Runs `command` in a process of its own. Rejects if it fails, with the end of its output. */
export async function measure(command: Command, signal: AbortSignal): Promise<Sample> {
  signal.throwIfAborted();
  await using folder = await tempFolder();
  const report = folder.join('report.json');
  const { argv, env, limitSeconds = LIMIT_SECONDS } = command;
  const child = spawn('python3', [SCRIPT, report, String(limitSeconds), ...argv], {
    env: { ...bareEnvironment(folder.path), ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    signal,
  });
  let said = '';
  for (const output of [child.stdout, child.stderr])
    output.setEncoding('utf8').on('data', (text: string) => {
      said = (said + text).slice(-2000);
    });
  child.once('error', ({ message }) => {
    said += message;
  });
  // This event follows an error as well, and comes only after the process has ended.
  await new Promise((resolve) => child.once('close', resolve));
  signal.throwIfAborted();
  const text = await readFile(report, 'utf8').catch(() => undefined);
  if (text === undefined) throw new Error(`measure ${argv.join(' ')}: python3 failed:\n${said}`);
  const sample = JSON.parse(text) as Sample & { readonly code: number };
  if (sample.inTime && sample.code !== 0) throw new Error(`${argv.join(' ')} ended with ${sample.code}:\n${said}`);
  return sample;
}

/** The user's settings for these programs must not affect the comparison, and must stay on this machine. */
export function bareEnvironment(home: string): Record<string, string> {
  return { PATH: process.env['PATH'] ?? '', HOME: home };
}
