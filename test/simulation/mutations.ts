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
/** A mutation may make a schedule endless. */
const LIMIT_MS = 10 * 60_000;

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

/** The line of the first violation; undefined where none was found. */
function violationWith(patch: string): string | undefined {
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
    if (status === 0) return undefined;
    return /^schedule \d+ fails: .*$/m.exec(stdout)?.[0] ?? `ended with ${String(status)}: ${stderr.slice(-300)}`;
  } finally {
    rmSync(copy, { recursive: true, force: true });
  }
}

let undetected = 0;
const patches = chosen();
for (const patch of patches) {
  const began = performance.now();
  const found = violationWith(patch);
  if (found === undefined) undetected += 1;
  const seconds = ((performance.now() - began) / 1_000).toFixed(0);
  console.log(`${basename(patch, '.patch')}: ${found ?? 'NOT DETECTED'} (${seconds} s)`);
}
console.log(`${patches.length - undetected} of ${patches.length} mutations detected`);
process.exitCode = undetected === 0 && patches.length > 0 ? 0 : 1;
