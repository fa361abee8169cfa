import { readFile, writeFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { jsonLines } from '../../kit/command-line.ts';
import { makeImage, makeLayer } from '../../kit/images.ts';
import { runMain } from '../../kit/in-process.ts';
import { openScene } from '../../kit/scene.ts';

test.each([
  ['keep', 3, 'drifted'],
  ['fail', 1, 'failed'],
] as const)(
  'a tag that has moved under moved: %s leaves the archive unchanged, and sync ends with %i',
  async (moved, code, status) => {
    const { registry, archive } = await openScene();
    const source = `${registry.host}/team/app`;
    const config = `${archive}.yaml`;
    await writeFile(
      config,
      `version: 1\nmirrors:\n  - source: ${source}\n    tags: all\n    policy: { moved: ${moved} }\n`,
    );
    const old = registry.push('team/app', makeImage({ layers: [makeLayer({ seed: 1 })] }), '1.0');
    expect(await runMain(['sync', '--config', config, '--to', archive])).toMatchObject({ code: 0 });
    const index = (): Promise<string> =>
      readFile(`${archive}/repositories/${source.replace(':', '_')}/index.json`, 'utf8');
    const before = await index();
    const now = registry.push('team/app', makeImage({ layers: [makeLayer({ seed: 2 })] }), '1.0');
    registry.forgetRequests();
    const ended = await runMain(['sync', '--config', config, '--to', archive, '--json']);
    expect(ended.code).toBe(code);
    const [image] = (jsonLines(ended).at(-1) as { images: readonly unknown[] }).images;
    expect(image).toMatchObject({ status, digest: now, reason: expect.stringContaining(`keeps it at ${old}`) });
    expect(await index()).toBe(before);
    expect(registry.count({ kind: 'blob' })).toBe(0);
  },
);
