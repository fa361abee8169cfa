/** Bundles what is shipped: `node scripts/build.ts [FOLDER]`; `dist` unless told. */
import { rm, stat } from 'node:fs/promises';
import { basename, dirname, resolve } from 'node:path';
import { build } from 'esbuild';
import { COMMAND, FUNCTION, functions, ROOT } from './bundle.ts';
import { idle } from './trims.ts';

const OUT = process.argv[2] ?? 'dist';

const bundles = [
  // As deep below the root as `lib/cli/main.ts`, so that what it reads relative to itself is where it looks.
  { from: 'lib/cli/main.ts', to: `${OUT}/cli/mirror-sync.js`, how: COMMAND },
  ...functions().map(({ name, from }) => ({ from, to: `${OUT}/functions/${name}/index.mjs`, how: FUNCTION })),
];

/** What runs on a thread of its own is a program of its own: it lies beside each bundle that starts it. */
const THREADS = [{ from: 'lib/mirror/inflating-worker.ts', startedBy: 'lib/mirror/inflating-threads.ts' }];

await rm(resolve(ROOT, OUT), { recursive: true, force: true });
await Promise.all(
  bundles.map(async ({ from, to, how }) => {
    const { metafile } = await build({ ...how, entryPoints: [from], outfile: to, metafile: true });
    for (const thread of THREADS) {
      if (!(thread.startedBy in metafile.inputs)) continue;
      const beside = `${dirname(to)}/${basename(thread.from, '.ts')}.mjs`;
      await build({ ...how, entryPoints: [thread.from], outfile: beside });
    }
  }),
);
for (const { path } of idle) throw new Error(`nothing matches ${String(path)} any more: look into scripts/trims.ts`);
for (const { to } of bundles) {
  const { size } = await stat(resolve(ROOT, to));
  console.log(`${to}  ${Math.ceil(size / 1024)} KiB`);
}
