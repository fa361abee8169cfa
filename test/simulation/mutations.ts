/**
 * Applies each mutation (mutations/*.patch) to a copy of the sources, and runs schedules until one fails:
 *
 *     node test/simulation/mutations.ts [--only NAME]… [--some N] [--schedules N]
 *
 * `--some N` takes N mutations, different ones each day, so that CI runs all of them in turn.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, globSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { parseArgs } from 'node:util';

const ROOT = join(import.meta.dirname, '../..');
const PATCHES = globSync('mutations/*.patch', { cwd: import.meta.dirname }).sort();
const DAY_MS = 24 * 60 * 60_000;
/** A mutation may end all progress; a loaded machine needs minutes for all schedules. */
const LIMIT_MS = 30 * 60_000;

const { values } = parseArgs({
  options: {
    only: { type: 'string', multiple: true },
    some: { type: 'string' },
    schedules: { type: 'string', default: '2000' },
    seed: { type: 'string', default: '1' },
  },
});

function chosen(): readonly string[] {
  if (values.only !== undefined) return PATCHES.filter((patch) => values.only?.includes(basename(patch, '.patch')));
  const count = Math.min(Number(values.some ?? PATCHES.length), PATCHES.length);
  const first = (Math.floor(Date.now() / DAY_MS) * count) % PATCHES.length;
  return Array.from({ length: count }, (_, index) => PATCHES[(first + index) % PATCHES.length] ?? '');
}

interface Tried {
  readonly isDetected: boolean;
  /** The line of the first violation, or the reason why no violation was found. */
  readonly text: string;
}

/** A crash or a timeout does not count as a detection: the schedules must run, and an invariant must fail. */
function tried(patch: string): Tried {
  const copy = mkdtempSync(join(tmpdir(), 'mutation-'));
  try {
    for (const part of ['lib', 'functions', 'test/kit', 'test/simulation', 'package.json', 'tsconfig.json'])
      cpSync(join(ROOT, part), join(copy, part), { recursive: true });
    symlinkSync(join(ROOT, 'node_modules'), join(copy, 'node_modules'));
    execFileSync('git', ['apply', '--whitespace=nowarn', join(import.meta.dirname, patch)], { cwd: copy });
    const args = ['test/simulation/main.ts', '--schedules', values.schedules, '--seed', values.seed, '--first'];
    const { status, stdout, stderr } = spawnSync(process.execPath, args, {
      cwd: copy,
      encoding: 'utf8',
      timeout: LIMIT_MS,
      maxBuffer: 2 ** 30,
    });
    const violation = /^schedule \d+ fails: .*$/m.exec(stdout)?.[0];
    if (violation !== undefined) return { isDetected: true, text: violation };
    const ending = status === null ? 'it was too slow' : `it ended with ${status}: ${stderr.slice(-300)}`;
    return { isDetected: false, text: `NOT DETECTED${status === 0 ? '' : `: ${ending}`}` };
  } finally {
    rmSync(copy, { recursive: true, force: true });
  }
}

let undetected = 0;
const patches = chosen();
for (const patch of patches) {
  const began = performance.now();
  const { isDetected, text } = tried(patch);
  if (!isDetected) undetected += 1;
  const seconds = ((performance.now() - began) / 1_000).toFixed(0);
  console.log(`${basename(patch, '.patch')}: ${text} (${seconds} s)`);
}
console.log(`${patches.length - undetected} of ${patches.length} mutations detected`);
process.exitCode = undetected === 0 && patches.length > 0 ? 0 : 1;
