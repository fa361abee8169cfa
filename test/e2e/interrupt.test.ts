/** Ctrl-C in the middle of a download: a clean end, which the next run continues. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { globSync, readFileSync } from 'node:fs';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { parseJournal } from '../../lib/store/folder/journal.ts';
import { FOLDER_PART_LIMITS } from '../../lib/store/folder/upload-files.ts';
import { landed, ranges } from '../../lib/store/parts.ts';
import { jsonLines, MAIN, mirrorSync, startMirrorSync, summaryOf } from '../kit/command-line.ts';
import { generated } from '../kit/content.ts';
import { type GeneratedLayer, generatedLayer, makeImage } from '../kit/images.ts';
import { describeWith } from '../kit/real.ts';
import { startRegistry, type TestRegistry } from '../kit/registry.ts';
import { tempFolder, type TempFolder } from '../kit/temp.ts';

/** The part size of the command line's `FolderStore`, in bytes. */
const PART = FOLDER_PART_LIMITS.usualPartBytes ?? 0;
const PARTS = 6;

let registry: TestRegistry;
let folder: TempFolder;
let archive: string;
let layer: GeneratedLayer;

beforeEach(async () => {
  registry = await startRegistry();
  folder = await tempFolder();
  archive = folder.join('archive');
  layer = await generatedLayer(generated({ size: PARTS * PART, seed: 7 }));
  registry.push('team/app', makeImage({ layers: [layer] }), '1.0');
});

afterEach(async () => {
  await registry.close();
  await folder.remove();
});

/** The numbers of the stored parts of the only unfinished upload, as they are on disk. */
function landedOnDisk(): number[] {
  const [journal] = globSync(`${archive}/.mirror/uploads/*/journal`);
  if (journal === undefined) return [];
  const parts = parseJournal(readFileSync(journal, 'utf8')).values();
  return landed(layer.size, PART, parts)
    .map(({ number }) => number)
    .sort((a, b) => a - b);
}

/** The requested ranges of the layer, as `bytes=first-last`. */
function asked(): (string | undefined)[] {
  return registry.requests.filter(({ kind }) => kind === 'blob').map(({ range }) => range);
}

test.each([
  ['SIGINT', 130],
  ['SIGTERM', 143],
  ['SIGHUP', 129],
] as const)('%s keeps the stored parts, and the next sync fetches only the rest', async (signal, code) => {
  const reference = `${registry.host}/team/app:1.0`;
  // Two ranges arrive completely; every other range stalls forever.
  const stall = registry.misbehave({
    match: { kind: 'blob', digest: layer.digest },
    after: 2,
    do: { stallAfter: PART / 2 },
  });
  await using running = startMirrorSync(['sync', reference, '--to', archive, '--json']);
  await stall.begun;
  await vi.waitUntil(() => landedOnDisk().length === 2, { timeout: 30_000 });
  running.process.kill(signal);
  const ended = await running.ended;

  expect(ended.code).toBe(code);
  expect(ended.stderr).toMatch(/stopping; received data is kept/);
  const interrupted = summaryOf(ended);
  expect(interrupted).toMatchObject({ mirrored: 0, unchanged: 0, failed: 1 });
  expect(interrupted.images[0]?.reason).toMatch(/interrupted; run the same command again/);
  expect(jsonLines(await mirrorSync(['ls', archive, '--json']))).toEqual([]);
  const kept = landedOnDisk();
  expect(kept).toHaveLength(2);

  stall.stop();
  registry.forgetRequests();
  const again = await mirrorSync(['sync', reference, '--to', archive, '--json']);
  expect(again, again.stdout).toMatchObject({ code: 0 });
  const missing = ranges(layer.size, PART).filter(({ number }) => !kept.includes(number));
  expect(asked().sort()).toEqual(missing.map(({ start, size }) => `bytes=${start}-${start + size - 1}`).sort());
  expect((await mirrorSync(['verify', archive])).code).toBe(0);
});

// script(1) of util-linux provides a terminal, and passes its input on as if it were typed.
describeWith(['script'], 'on a terminal', () => {
  test('the key Ctrl-C does the same, and removes the progress', async () => {
    const stall = registry.misbehave({
      match: { kind: 'blob', digest: layer.digest },
      do: { stallAfter: PART / 2 },
    });
    const line = [process.execPath, MAIN, 'sync', `${registry.host}/team/app:1.0`, '--to', archive].join(' ');
    // A bar is drawn on a terminal that can draw, and not in CI.
    const env = { ...process.env, TERM: 'xterm', CI: undefined, NO_COLOR: undefined };
    const child = spawn('script', ['--quiet', '--return', '--command', line, '/dev/null'], { env });
    try {
      let shown = '';
      child.stdout.setEncoding('utf8').on('data', (text: string) => (shown += text));
      const closed = once(child, 'close');
      await stall.begun;
      await vi.waitUntil(() => / \[=*> *\] \d/.test(shown), { timeout: 30_000 });
      child.stdin.write('\u0003');
      await closed;
      expect(child.exitCode).toBe(130);
      // The output after the last block of progress.
      const left = shown.slice(shown.lastIndexOf('\u001b[J'));
      expect(left).toMatch(/0 mirrored, 0 unchanged, 1 interrupted, 0 failed; \d+(?:\.\d)? [kM]?B fetched/);
      expect(left).not.toMatch(/\[=*>/);
      expect(shown).toMatch(/stopping; received data is kept/);
    } finally {
      child.kill('SIGKILL');
    }
  });
});
