/**
 * Writes the declarations of lib/index.ts and of the files that it needs: `node scripts/types.ts [FOLDER]`. Default: `dist/types`.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { ROOT } from './bundle.ts';

const OUT = resolve(ROOT, process.argv[2] ?? 'dist/types');
const IMPORT = /(from |import\()(['"])(\.[^'"]+)\.ts\2/g;

rmSync(OUT, { recursive: true, force: true });
const all = mkdtempSync(join(tmpdir(), 'mirror-sync-types-'));
try {
  const tsc = join(ROOT, 'node_modules/typescript/bin/tsc');
  // `npm run check` checks the types.
  const options = ['--project', 'tsconfig.types.json', '--noCheck', '--outDir', all];
  execFileSync(process.execPath, [tsc, ...options], { cwd: ROOT, stdio: 'inherit' });
  const written = new Set<string>();
  write('index', written);
  console.log(`${OUT}  ${written.size} files`);
} finally {
  rmSync(all, { recursive: true, force: true });
}

function write(name: string, written: Set<string>): void {
  if (written.has(name)) return;
  written.add(name);
  const text = readFileSync(join(all, `${name}.d.ts`), 'utf8');
  const target = join(OUT, `${name}.d.ts`);
  mkdirSync(dirname(target), { recursive: true });
  writeFileSync(target, text.replace(IMPORT, '$1$2$3.js$2'));
  for (const [, , , path = ''] of text.matchAll(IMPORT)) write(join(dirname(name), path), written);
}
