/** The build options of the command line and of the Lambda functions. A bundle starts faster than hundreds of files. */
import { globSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { BuildOptions, Plugin } from 'esbuild';
import { ESBUILD_DETECTION, TRIMS_OF_COMMAND, TRIMS_OF_FUNCTIONS } from './trims.ts';

export const ROOT = join(import.meta.dirname, '..');

const COMMON: BuildOptions = {
  absWorkingDir: ROOT,
  bundle: true,
  platform: 'node',
  target: 'node24',
  format: 'esm',
  // ES modules allow tree shaking.
  mainFields: ['module', 'main'],
  define: ESBUILD_DETECTION,
  // CommonJS code in the bundle needs `require` for Node's modules.
  banner: {
    js: "import { createRequire as createRequireOfBundle } from 'node:module';\nconst require = createRequireOfBundle(import.meta.url);",
  },
  legalComments: 'none',
  logLevel: 'warning',
};

/** Code that is loaded on demand (the S3 client, YAML) is in separate files. */
export const COMMAND: BuildOptions = { ...COMMON, plugins: TRIMS_OF_COMMAND, splitting: true };

/** Few deployments require signatures, pull from ECR, or sign with KMS. The code for that is in files that are loaded on demand. */
const ON_DEMAND: Plugin = {
  name: 'on-demand',
  setup(bundle) {
    bundle.onResolve({ filter: /^\.\/(?:sigstore|ecr-client|kms-client)\.ts$/ }, ({ kind, path }) =>
      kind === 'dynamic-import' ? { path: path.replace(/\.ts$/, '.mjs'), external: true } : undefined,
    );
  },
};

/** Functions are minified for fast cold starts. Names are kept for stacks and logs. */
export const FUNCTION: BuildOptions = {
  ...COMMON,
  plugins: [...TRIMS_OF_FUNCTIONS, ON_DEMAND],
  minify: true,
  keepNames: true,
};

/** The functions: the files with a handler. */
export function functions(): { readonly name: string; readonly from: string }[] {
  return globSync('functions/*.ts', { cwd: ROOT })
    .filter((file) => /^export (?:const|async function) handler\b/m.test(readFileSync(join(ROOT, file), 'utf8')))
    .map((file) => ({ name: basename(file, '.ts'), from: file }));
}
