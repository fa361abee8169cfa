/** The npm package as `npm pack` makes it, and a project that has installed it. */
import { execFile } from 'node:child_process';
import { cp, mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { tempFolder, type TempFolder } from './temp.ts';

const ROOT = join(import.meta.dirname, '../..');

const run = promisify(execFile);

export interface InstalledPackage extends AsyncDisposable {
  /** The folder of the project that has the package in node_modules. */
  readonly project: TempFolder;
  /** The files of the package, by their paths in it. */
  readonly files: readonly string[];
  /** Reads one file of the package. */
  read(path: string): Promise<string>;
}

export interface Packed {
  /** The name of the .tgz file in the folder. */
  readonly filename: string;
  readonly files: readonly { readonly path: string }[];
}

/** Packs the files of `package.json` into a folder, without a change to this one. */
export async function packPackage(folder: TempFolder): Promise<Packed> {
  const staged = folder.join('staged');
  await stage(staged);
  const packed = await npm(staged, 'pack', '--json', '--ignore-scripts', '--pack-destination', folder.path);
  const [result] = JSON.parse(packed) as [Packed];
  return result;
}

/** Packs the package, and installs it offline into a new project. */
export async function installPackage(): Promise<InstalledPackage> {
  const project = await tempFolder();
  try {
    const { filename, files } = await packPackage(project);
    await writeFile(project.join('package.json'), '{"type":"module","private":true}');
    await npm(project.path, 'install', '--offline', '--no-audit', '--no-fund', '--no-package-lock', `./${filename}`);
    // A TypeScript project gets these from the registry.
    await symlink(join(ROOT, 'node_modules/@types'), project.join('node_modules/@types'));
    await symlink(join(ROOT, 'node_modules/undici-types'), project.join('node_modules/undici-types'));
    return {
      project,
      files: files.map(({ path }) => path),
      read: (path) => readFile(project.join('node_modules/mirror-sync', path), 'utf8'),
      [Symbol.asyncDispose]: () => project.remove(),
    };
  } catch (error) {
    await project.remove();
    throw error;
  }
}

/** Copies the files of the package to a folder, with new bundles and types. */
async function stage(folder: string): Promise<void> {
  await mkdir(folder);
  const { files } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8')) as { files: string[] };
  const copied = files.filter((path) => !path.startsWith('dist/'));
  for (const path of ['package.json', 'README.md', 'LICENSE', ...copied])
    await cp(join(ROOT, path), join(folder, path), { recursive: true });
  await run(process.execPath, [join(ROOT, 'scripts/build.ts'), join(folder, 'dist')]);
  await run(process.execPath, [join(ROOT, 'scripts/types.ts'), join(folder, 'dist/types')]);
}

async function npm(cwd: string, ...args: readonly string[]): Promise<string> {
  const { stdout } = await run('npm', args, { cwd });
  return stdout;
}
