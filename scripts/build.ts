/** Bundles what is shipped: `node scripts/build.ts [FOLDER]`; `dist` unless told. */
import { rm, stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { build } from 'esbuild';
import { COMMAND, FUNCTION, functions, ROOT } from './bundle.ts';
import { idle } from './trims.ts';

const OUT = process.argv[2] ?? 'dist';

const bundles = [
  // As deep below the root as `lib/cli/main.ts`, so that what it reads relative to itself is where it looks.
  { from: 'lib/cli/main.ts', to: `${OUT}/cli/mirror-sync.js`, how: COMMAND },
  ...functions().map(({ name, from }) => ({ from, to: `${OUT}/functions/${name}/index.mjs`, how: FUNCTION })),
];

await rm(resolve(ROOT, OUT), { recursive: true, force: true });
await Promise.all(bundles.map(({ from, to, how }) => build({ ...how, entryPoints: [from], outfile: to })));
for (const { path } of idle) throw new Error(`nothing matches ${String(path)} any more: look into scripts/trims.ts`);
for (const { to } of bundles) {
  const { size } = await stat(resolve(ROOT, to));
  console.log(`${to}  ${Math.ceil(size / 1024)} KiB`);
}
