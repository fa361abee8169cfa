/** The command line in this process, for tests that do not need a separate process, which takes long to start. */
import { main } from '../../lib/cli/main.ts';
import type { Io } from '../../lib/cli/output/io.ts';
import type { Ended } from './command-line.ts';

export interface InProcess {
  readonly env?: Readonly<Record<string, string>>;
  /** The content of standard input. */
  readonly stdin?: string;
  readonly platform?: NodeJS.Platform;
  readonly isTTY?: boolean;
  /** The width of the terminal. */
  readonly columns?: number;
  readonly signal?: AbortSignal;
}

export async function runMain(args: readonly string[], options: InProcess = {}): Promise<Ended> {
  const { env = {}, stdin, platform, isTTY, columns, signal = new AbortController().signal } = options;
  let [stdout, stderr] = ['', ''];
  const io: Io = {
    stdout: {
      write: (text) => void (stdout += text),
      ...(isTTY === undefined ? {} : { isTTY }),
      ...(columns === undefined ? {} : { columns }),
    },
    stderr: { write: (text) => void (stderr += text) },
    // The credentials of the tester are not used.
    env: { DOCKER_CONFIG: '/nowhere', ...env },
    signal,
    ...(stdin === undefined ? {} : { stdin: chunked(stdin) }),
    ...(platform === undefined ? {} : { platform }),
  };
  const code = await main(args, io);
  return { code, stdout, stderr };
}

async function* chunked(text: string): AsyncGenerator<Uint8Array, void, void> {
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; at += 1_000) {
    await Promise.resolve();
    yield bytes.subarray(at, at + 1_000);
  }
}
