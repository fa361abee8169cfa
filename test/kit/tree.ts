/** Folders with typical content of layers, and the properties that a test compares. */
import { createHash } from 'node:crypto';
import { chmod, copyFile, link, lstat, mkdir, readdir, readFile, readlink, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

const PROJECT = join(import.meta.dirname, '../..');

/** The content of a tree by path: mode and content of files, which of them are hard links, and the targets of links. */
export type Tree = Record<string, string>;

export async function treeOf(root: string): Promise<Tree> {
  const tree: Tree = {};
  const firstOf = new Map<number, string>();
  for (const path of (await readdir(root, { recursive: true })).sort()) {
    const full = join(root, path);
    const stat = await lstat(full);
    const mode = (stat.mode & 0o7777).toString(8);
    if (stat.isSymbolicLink()) tree[path] = `-> ${await readlink(full)}`;
    else if (stat.isDirectory()) tree[path] = `directory ${mode}`;
    else {
      const first = firstOf.get(stat.ino) ?? path;
      firstOf.set(stat.ino, first);
      const hash = createHash('sha256').update(await readFile(full));
      tree[path] = first === path ? `file ${mode} ${hash.digest('hex')}` : `the same file as ${first}`;
    }
  }
  return tree;
}

/**
 * Files of this project, with what tools get wrong: modes, links of both kinds, names that no ustar header holds.
 *
 * @param name makes this tree's files differ from another's
 */
export async function plantTree(root: string, name: string): Promise<void> {
  const put = async (path: string, from: string, mode: number): Promise<void> => {
    await mkdir(join(root, path, '..'), { recursive: true });
    await copyFile(join(PROJECT, from), join(root, path));
    await chmod(join(root, path), mode);
  };
  await put('usr/bin/tool', 'lib/cli/main.ts', 0o755);
  await put('usr/bin/as-root', 'lib/cli/commands/sync.ts', 0o4755);
  await put('etc/secret', 'package.json', 0o600);
  await put('usr/share/doc/lock.json', 'package-lock.json', 0o644);
  await put(`opt/${'deep-'.repeat(20)}/${'deeper-'.repeat(20)}/${'n'.repeat(255)}`, 'LICENSE', 0o444);
  await put('srv/grüße/naïve 日本語.txt', 'README.md', 0o640);
  await writeFile(join(root, 'etc/empty'), '');
  // The content differs per run, because tools remember the compression of a layer across runs.
  await writeFile(join(root, 'etc/build'), `${name} ${root}\n`);
  await link(join(root, 'usr/bin/tool'), join(root, 'usr/bin/tool-1.0'));
  await symlink('tool-1.0', join(root, 'usr/bin/link'));
  await symlink('/nowhere/at all', join(root, 'etc/dangling'));
  await mkdir(join(root, 'var/private'), { recursive: true });
  await chmod(join(root, 'var/private'), 0o700);
  await mkdir(join(root, 'tmp'));
  await chmod(join(root, 'tmp'), 0o1777);
}
