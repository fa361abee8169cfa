/** The streams of the process: pipes that do not respond, and outputs that cannot be written. */
import { execFile, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { constants, type FileHandle, open } from 'node:fs/promises';
import { text } from 'node:stream/consumers';
import { promisify } from 'node:util';
import { describe, expect, test, vi } from 'vitest';
import { MAIN, startMirrorSync } from '../../kit/command-line.ts';
import { tempFolder } from '../../kit/temp.ts';

test('ends after one signal while it waits for an input file that is a pipe', async () => {
  await using folder = await tempFolder();
  const pipe = folder.join('pipe');
  await promisify(execFile)('mkfifo', [pipe]);
  await using running = startMirrorSync(['check', pipe]);
  // A pipe without a reader cannot be opened in this mode.
  const opened = await vi.waitUntil(() => openForWrites(pipe), { timeout: 30_000, interval: 20 });
  await using _writer = opened;
  running.process.kill('SIGTERM');
  expect([143, 'SIGTERM']).toContain((await running.ended).code);
});

async function openForWrites(pipe: string): Promise<FileHandle | undefined> {
  return await open(pipe, constants.O_WRONLY | constants.O_NONBLOCK).catch(() => undefined);
}

describe.skipIf(!existsSync('/dev/full'))('a full disk', () => {
  test.for([['--version'], ['completion', 'bash'], ['client-config', 'podman', '--registry', 'http://x']])(
    'makes the exit code of "%s" 1, and is reported once, if it takes no output',
    async (args) => {
      const { code, stderr } = await withStreams(args, '>/dev/full');
      expect(code).toBe(1);
      expect(stderr.match(/write output: the disk is full/g)).toHaveLength(1);
    },
  );

  test('does not change the exit code if it takes no messages', async () => {
    expect((await withStreams(['unknown'], '2>/dev/full')).code).toBe(2);
  });
});

/** Runs the command line with a redirection of a shell. */
async function withStreams(
  args: readonly string[],
  redirection: string,
): Promise<{ readonly code: number | null; readonly stderr: string }> {
  const command = ['-c', `exec "$0" "$@" ${redirection}`, process.execPath, MAIN, ...args];
  const child = spawn('sh', command, { stdio: ['ignore', 'ignore', 'pipe'] });
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  const [code, stderr] = await Promise.all([ended, text(child.stderr)]);
  return { code, stderr };
}
