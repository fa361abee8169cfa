/**
 * How what is shipped is bundled: the command line, and each Lambda function into a folder of its own. A bundle needs
 * nothing beside it, and starts faster than the hundreds of files that it is made of.
 */
import { globSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { BuildOptions } from 'esbuild';
import { TRIMS_OF_COMMAND, TRIMS_OF_FUNCTIONS } from './trims.ts';

export const ROOT = join(import.meta.dirname, '..');

const COMMON: BuildOptions = {
  absWorkingDir: ROOT,
  bundle: true,
  platform: 'node',
  target: 'node24',
  format: 'esm',
  // Packages that ship both are smaller as modules: what is not used of them is left out.
  mainFields: ['module', 'main'],
  // CommonJS inside an ES module bundle calls `require` for Node's own modules, and there is none.
  banner: {
    js: "import { createRequire as createRequireOfBundle } from 'node:module';\nconst require = createRequireOfBundle(import.meta.url);",
  },
  legalComments: 'none',
  logLevel: 'warning',
};

/** What is only loaded when it is needed (the S3 client, YAML) is only read then: it lies beside, in files of its own. */
export const COMMAND: BuildOptions = { ...COMMON, plugins: TRIMS_OF_COMMAND, splitting: true };

/** Functions load at every cold start, so they are minified; names stay, since stacks and logs show them. */
export const FUNCTION: BuildOptions = { ...COMMON, plugins: TRIMS_OF_FUNCTIONS, minify: true, keepNames: true };

/** The functions by their names, each with its source: a file without a handler is none. */
export function functions(): { readonly name: string; readonly from: string }[] {
  return globSync('functions/*.ts', { cwd: ROOT })
    .filter((file) => /^export (?:const|async function) handler\b/m.test(readFileSync(join(ROOT, file), 'utf8')))
    .map((file) => ({ name: basename(file, '.ts'), from: file }));
}
