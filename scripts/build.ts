/** Bundles the package and the functions: `node scripts/build.ts [FOLDER]`. Default: `dist`. */
import { rm, writeFile } from 'node:fs/promises';
import { basename, extname, join, resolve } from 'node:path';
import { build, type Metafile } from 'esbuild';
import { COMMAND, FUNCTION, functions, ROOT } from './bundle.ts';
import { bundledPackages, noticesOf, sbomOf } from './notices.ts';
import { idle } from './trims.ts';

const OUT = process.argv[2] ?? 'dist';

/** The library and the command line share the files of one package. */
const LIBRARY = [{ in: 'lib/index.ts', out: 'index' }];

const bundles = [
  { from: 'lib/cli/launch.ts', folder: `${OUT}/cli`, name: 'mirror-sync.js', how: COMMAND, with: LIBRARY },
  ...functions().map(({ name, from }) => ({
    from,
    folder: `${OUT}/functions/${name}`,
    name: 'index.mjs',
    how: FUNCTION,
    with: [],
  })),
];

/** The programs of worker threads, next to each bundle that starts them. */
const THREADS = [
  { from: 'lib/proof/inflating-worker.ts', startedBy: 'lib/proof/inflating-threads.ts' },
  { from: 'lib/serve/bcrypt-worker.ts', startedBy: 'lib/serve/bcrypt.ts' },
];

/** Modules that functions load on demand, as files next to the bundle; the command line is split into files anyway. */
const ON_DEMAND = [
  { from: 'lib/signatures/sigstore.ts', loadedBy: 'lib/signatures/trusted-root.ts' },
  { from: 'functions/ecr-client.ts', loadedBy: 'functions/ecr.ts' },
  { from: 'lib/app/kms-client.ts', loadedBy: 'lib/app/attest-key.ts' },
];

/** The metafiles of the npm package's bundles. */
const metafiles: Metafile[] = [];

await rm(resolve(ROOT, OUT), { recursive: true, force: true });
await Promise.all(
  bundles.map(async ({ from, folder, name, how, with: others }) => {
    const entryPoints = [{ in: from, out: basename(name, extname(name)) }, ...others];
    const outExtension = { '.js': extname(name) };
    const { metafile } = await build({ ...how, entryPoints, outdir: folder, outExtension, metafile: true });
    const sizes = Object.values(metafile.outputs).map(({ bytes }) => bytes);
    const total = sizes.reduce((sum, bytes) => sum + bytes, 0);
    console.log(
      `${join(folder, name)}  ${Math.ceil(total / 1024)} KiB${sizes.length > 1 ? ' with its other files' : ''}`,
    );
    for (const thread of THREADS) {
      if (!(thread.startedBy in metafile.inputs)) continue;
      const outfile = join(folder, `${basename(thread.from, '.ts')}.mjs`);
      const built = await build({ ...how, entryPoints: [thread.from], outfile, splitting: false, metafile: true });
      if (how === COMMAND) metafiles.push(built.metafile);
    }
    for (const module of how === FUNCTION ? ON_DEMAND : []) {
      if (!(module.loadedBy in metafile.inputs)) continue;
      await build({ ...how, entryPoints: [module.from], outfile: join(folder, `${basename(module.from, '.ts')}.mjs`) });
    }
    if (how === COMMAND) metafiles.push(metafile);
  }),
);
for (const { path } of idle) throw new Error(`trim bundles: nothing matches ${String(path)}; update scripts/trims.ts`);

const packages = bundledPackages(metafiles);
await writeFile(resolve(ROOT, OUT, 'THIRD-PARTY-NOTICES.txt'), noticesOf(packages));
await writeFile(resolve(ROOT, OUT, 'sbom.cdx.json'), sbomOf(packages));
