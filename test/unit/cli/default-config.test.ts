/** The images that `sync` mirrors if the command line has neither references nor a configuration. */
import { writeFile } from 'node:fs/promises';
import { beforeEach, expect, test } from 'vitest';
import { type Ended, mirrorSync, summaryOf } from '../../kit/command-line.ts';
import { makeImage } from '../../kit/images.ts';
import { runMain } from '../../kit/in-process.ts';
import type { TestRegistry } from '../../kit/registry.ts';
import { openScene } from '../../kit/scene.ts';
import type { TempFolder } from '../../kit/temp.ts';

let registry: TestRegistry;
let folder: TempFolder;

beforeEach(async () => {
  ({ registry, folder } = await openScene());
  registry.push('team/app', makeImage(), '1.0');
  registry.push('team/app', makeImage(), '2.0');
});

/** Writes a configuration that names one tag. */
async function configured(name: string, tag: string): Promise<string> {
  const path = folder.join(name);
  await writeFile(path, `version: 1\nmirrors: [{ source: '${registry.host}/team/app', tags: [${tag}] }]\n`);
  return path;
}

const references = (ended: Ended): string[] => summaryOf(ended).images.map(({ reference }) => reference);

test('sync mirrors the images of mirror.yaml in the working directory, and names the file', async () => {
  await configured('mirror.yaml', '1.0');
  const ended = await mirrorSync(['sync', '--to', 'archive', '--json'], {}, folder.path);
  expect(ended).toMatchObject({ code: 0, stderr: 'using mirror.yaml\n' });
  expect(references(ended)).toEqual([`${registry.host}/team/app:1.0`]);
});

test('sync takes the file and the archive from the environment', async () => {
  const env = { MIRROR_SYNC_CONFIG: await configured('other.yaml', '2.0'), MIRROR_SYNC_ARCHIVE: folder.join('a') };
  const ended = await runMain(['sync', '--json'], { env });
  expect(ended).toMatchObject({ code: 0, stderr: `using ${env.MIRROR_SYNC_CONFIG}\n` });
  expect(references(ended)).toEqual([`${registry.host}/team/app:2.0`]);
  expect((await runMain(['ls', env.MIRROR_SYNC_ARCHIVE])).stdout).toContain(`${registry.host}/team/app:2.0`);
});

test('the command line takes precedence over the environment', async () => {
  const env = { MIRROR_SYNC_CONFIG: folder.join('absent.yaml'), MIRROR_SYNC_ARCHIVE: folder.join('unused') };
  const archive = folder.join('b');
  const named = await configured('named.yaml', '1.0');
  for (const args of [['--config', named], [`${registry.host}/team/app:1.0`]]) {
    const ended = await runMain(['sync', ...args, '--to', archive, '--json'], { env });
    expect(ended).toMatchObject({ code: 0, stderr: '' });
    expect(references(ended)).toEqual([`${registry.host}/team/app:1.0`]);
  }
  expect(await runMain(['ls', env.MIRROR_SYNC_ARCHIVE])).not.toMatchObject({ code: 0 });
});

test('--quiet does not name the file', async () => {
  const env = { MIRROR_SYNC_CONFIG: await configured('mirror.yaml', '1.0') };
  const ended = await runMain(['sync', '--to', folder.join('c'), '--quiet'], { env });
  expect(ended).toMatchObject({ code: 0, stderr: '' });
});

test('a missing default file is wrong usage, and the archive is not created', async () => {
  const env = { MIRROR_SYNC_CONFIG: folder.join('absent.yaml') };
  const archive = folder.join('d');
  const ended = await runMain(['sync', '--to', archive], { env });
  expect(ended).toMatchObject({ code: 2, stdout: '' });
  expect(ended.stderr).toBe(
    'mirror-sync sync: name at least one image, such as alpine:3.20, or a configuration with --config FILE ' +
      `(${env.MIRROR_SYNC_CONFIG} does not exist)\n`,
  );
  expect((await runMain(['ls', archive])).code).not.toBe(0);
});

test('an error in the default file names the file', async () => {
  const path = folder.join('broken.yaml');
  await writeFile(path, 'version: 1\nmirors: []\n');
  const ended = await runMain(['sync', '--to', folder.join('e')], { env: { MIRROR_SYNC_CONFIG: path } });
  expect(ended).toMatchObject({ code: 2 });
  expect(ended.stderr).toContain(`${path}:2:1: mirors`);
});

test('an option of references without a reference is wrong usage', async () => {
  const ended = await runMain(['sync', '--all-tags', '--to', folder.join('f')]);
  expect(ended).toMatchObject({ code: 2 });
  expect(ended.stderr).toContain('--all-tags needs a reference, such as alpine:3.20');
});
