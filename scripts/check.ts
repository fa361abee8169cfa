/** `npm run check`: types, lint, format, spelling and unused code. The longest check runs beside the others. */
import { spawn } from 'node:child_process';
import { availableParallelism } from 'node:os';

/** The longest first. */
const CHECKS: readonly (readonly [name: string, command: string])[] = [
  ['lint', 'eslint . --max-warnings 0'],
  ['types', 'tsc'],
  ['format', 'prettier --check --log-level warn .'],
  ['spelling', 'npm run -s spelling'],
  ['unused', 'node scripts/unused.ts'],
];

/** Runs a command of this package, and prints its output when it ends. */
async function run(name: string, command: string): Promise<boolean> {
  // One string for a shell, so that Windows finds the commands of npm as well.
  const child = spawn(command, { shell: true, stdio: ['ignore', 'pipe', 'pipe'] });
  const output: Buffer[] = [];
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => output.push(chunk));
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  process.stdout.write(Buffer.concat(output));
  if (code !== 0) console.error(`check: ${name} fails (${command})`);
  return code === 0;
}

const left = [...CHECKS];
const results: boolean[] = [];
const workers = Array.from({ length: Math.min(availableParallelism(), CHECKS.length) }, async () => {
  for (let next = left.shift(); next !== undefined; next = left.shift()) results.push(await run(...next));
});
await Promise.all(workers);
process.exitCode = results.every(Boolean) ? 0 : 1;
