/** The command line on folders that are not a plain archive: prepared by others, mistyped, or not writable. */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { lutimes, mkdir, readdir, readFile, rm, symlink, utimes, writeFile } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { FolderStore } from '../../lib/store/folder/store.ts';
import { jsonLines, mirrorSync } from '../kit/command-line.ts';
import { makeImage, makeLayer } from '../kit/images.ts';
import { startRegistry, type TestRegistry } from '../kit/registry.ts';
import { tempFolder, type TempFolder } from '../kit/temp.ts';

let registry: TestRegistry;
let folder: TempFolder;
let archive: string;
let reference: string;

beforeEach(async () => {
  registry = await startRegistry();
  folder = await tempFolder();
  archive = folder.join('archive');
  registry.push('team/app', makeImage(), 'v1');
  reference = `${registry.host}/team/app:v1`;
});

afterEach(async () => {
  await registry.close();
  await folder.remove();
});

describe('an archive from an untrusted person', () => {
  const LONG_AGO = new Date(Date.now() - 3 * 24 * 60 * 60 * 1000);

  test.each(['tmp', 'uploads'])('cannot empty a folder outside through a link at .mirror/%s', async (name) => {
    await mkdir(folder.join('archive/.mirror'), { recursive: true });
    await mkdir(folder.join('victim/folder'), { recursive: true });
    await writeFile(folder.join('victim/thesis.txt'), 'precious');
    for (const path of ['victim/thesis.txt', 'victim/folder']) await utimes(folder.join(path), LONG_AGO, LONG_AGO);
    await symlink(folder.join('victim'), folder.join('archive/.mirror', name));
    await lutimes(folder.join('archive/.mirror', name), LONG_AGO, LONG_AGO);

    const ended = await mirrorSync(['sync', reference, '--to', archive]);

    expect(ended.code).not.toBe(0);
    expect(`${ended.stdout}${ended.stderr}`).toContain('is a symbolic link');
    expect((await readdir(folder.join('victim'))).sort()).toEqual(['folder', 'thesis.txt']);
    expect(await readFile(folder.join('victim/thesis.txt'), 'utf8')).toBe('precious');
  });

  test('does not block a sync with a named pipe', async () => {
    const repository = folder.join('archive/repositories', registry.host.replace(':', '_'), 'team/app');
    await mkdir(repository, { recursive: true });
    execFileSync('mkfifo', [`${repository}/index.json`]);
    expect((await mirrorSync(['sync', reference, '--to', archive])).code).toBe(0);
    expect((await mirrorSync(['verify', archive])).code).toBe(0);
  });

  test('does not end a sync with the meta of an upload', async () => {
    expect((await mirrorSync(['sync', reference, '--to', archive])).code).toBe(0);
    const upload = folder.join('archive/.mirror/uploads/01234567-89ab-4cde-8f01-23456789abcd');
    await mkdir(upload);
    for (const [name, text] of Object.entries({ meta: '[]', data: '', journal: '' }))
      await writeFile(`${upload}/${name}`, text);
    expect(await mirrorSync(['sync', reference, '--to', archive])).toMatchObject({ code: 0, stderr: '' });
  });
});

// Users create it for tools that look for blobs next to the index.
test('a link named blobs in the folder of a repository is kept and ignored', async () => {
  expect((await mirrorSync(['sync', reference, '--to', archive])).code).toBe(0);
  const repository = folder.join('archive/repositories', registry.host.replace(':', '_'), 'team/app');
  await symlink('../../../../blobs', `${repository}/blobs`);
  expect(existsSync(`${repository}/blobs/sha256`)).toBe(true);
  registry.push('team/app', makeImage({ layers: [makeLayer({ seed: 2 })] }), 'v2');

  expect((await mirrorSync(['sync', `${registry.host}/team/app`, '--all-tags', '--to', archive])).code).toBe(0);
  expect(await mirrorSync(['verify', archive])).toMatchObject({ code: 0, stderr: '' });
  const rows = jsonLines(await mirrorSync(['ls', archive, '--json']));
  expect(rows).toMatchObject([{ reference }, { reference: `${registry.host}/team/app:v2` }]);
  await rm(`${repository}/blobs`);
});

describe('an address that is not one of an archive', () => {
  test.each(['s3:mirror/x', '~/x'])('is refused by every command, and creates no folder: %s', async (address) => {
    const commands = [
      ['sync', reference, '--to', address],
      ['verify', address],
      ['ls', address],
      ['status', address],
      ['convert', reference, address],
    ];
    for (const args of commands) {
      const ended = await mirrorSync(args, {}, folder.path);
      expect(ended).toMatchObject({ code: 2, stdout: '' });
      expect(ended.stderr).toContain(`./${address}`);
    }
    expect(await readdir(folder.path)).toEqual([]);
    expect(registry.requests).toEqual([]);
  });

  test('names a folder with ./ before it', async () => {
    expect((await mirrorSync(['sync', reference, '--to', './oci:x'], {}, folder.path)).code).toBe(0);
    expect(await readdir(folder.path)).toEqual(['oci:x']);
  });
});

describe('a destination that cannot be written', () => {
  // The error is one line, at once, for any number of images, and no registry is asked.
  async function isRefused(to: string, why: string): Promise<void> {
    const ended = await mirrorSync(['sync', reference, `${registry.host}/team/app:v2`, '--to', to]);
    expect(ended).toMatchObject({ code: 2, stdout: '' });
    expect(ended.stderr.split('\n')).toHaveLength(2);
    expect(ended.stderr).toContain(`write to ${to}: ${why}`);
    expect(registry.requests).toEqual([]);
  }

  test('is one error if it is a file', async () => {
    await writeFile(archive, 'x');
    await isRefused(archive, `${archive} is a file`);
    await isRefused(`${archive}/below`, `${archive} is a file`);
  });

  test('is one error if .mirror is a file', async () => {
    await mkdir(archive);
    await writeFile(folder.join('archive/.mirror'), 'x');
    await isRefused(archive, `${archive}/.mirror is a file`);
  });

  test('is one error if it is a link without a target', async () => {
    await symlink(folder.join('unmounted'), archive);
    await isRefused(archive, `${archive} is a symbolic link without a target; check that its disk is mounted`);
  });

  // Node's recursive mkdir never returns there.
  test('is one error if its file system does not accept folders', { skip: process.platform !== 'linux' }, async () => {
    await isRefused('/proc/mirror-sync', 'no such file or directory');
  });
});

// Both end with the right result, and may fetch the same blobs.
test('a sync reports another one that runs on the same folder', async () => {
  await using other = new FolderStore(archive);
  expect(await other.prepare()).toEqual({ alone: true });
  const beside = await mirrorSync(['sync', reference, '--to', archive]);
  expect(beside.code).toBe(0);
  expect(beside.stderr).toContain('another sync is running on this archive');
  await other.close();
  expect(await mirrorSync(['sync', reference, '--to', archive])).toMatchObject({ code: 0, stderr: '' });
});
