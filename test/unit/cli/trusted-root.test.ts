/** `sync` without a configuration applies a recorded policy that requires signatures by certificates. */
import { writeFile } from 'node:fs/promises';
import { beforeEach, describe, expect, test } from 'vitest';
import { openArchive } from '../../../lib/app/open-archive.ts';
import type { TagIndex } from '../../../lib/archive/tag-index/tag-index.ts';
import { withPolicy } from '../../../lib/archive/tag-index/withheld.ts';
import { NO_POLICY } from '../../../lib/policy/policy.ts';
import { makeImage } from '../../kit/images.ts';
import { runMain } from '../../kit/in-process.ts';
import { openScene, type Scene } from '../../kit/scene.ts';
import { bundleReferrer } from '../../kit/signatures.ts';
import { RELEASE, startSigstore } from '../../kit/sigstore.ts';

const IMAGE = makeImage();

let scene: Scene;
let root: string;

beforeEach(async () => {
  scene = await openScene();
  const { registry, folder } = scene;
  const sigstore = await startSigstore();
  registry.push('app', IMAGE, '1');
  registry.push('app', bundleReferrer(IMAGE, await sigstore.signBundle(IMAGE.digest, RELEASE)));
  root = folder.join('trusted_root.json');
  await writeFile(root, sigstore.trustedRoot);
  await update((index) => withPolicy(index, { ...NO_POLICY, verify: 'require', signers: [RELEASE] }));
});

async function update(change: (index: TagIndex) => TagIndex): Promise<TagIndex | undefined> {
  const { signal } = new AbortController();
  await using opened = await openArchive(scene.archive, 'write', { env: {}, signal, platform: process.platform });
  const repository = `${scene.registry.host}/app`;
  await opened.archive.updatePolicy(repository, change);
  return (await opened.archive.tagIndex(repository))?.index;
}

function sync(...options: string[]): ReturnType<typeof runMain> {
  return runMain(['sync', `${scene.registry.host}/app:1`, '--to', scene.archive, ...options]);
}

describe('sync --trusted-root', () => {
  test('mirrors an image that a signer of the recorded policy has signed', async () => {
    expect(await sync('--trusted-root', root)).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('1 mirrored, 0 unchanged, 0 failed and 1 referrer'),
    });
  });

  test('is the remedy of a failure that records nothing', async () => {
    const { code, stdout } = await sync();
    expect(code).toBe(1);
    expect(stdout).toContain('no trusted root is given; set trustedRoot in mirror.yaml, or add --trusted-root FILE');
    expect((await update((index) => index))?.control.unverified).toEqual([]);
    expect(await sync('--trusted-root', root)).toMatchObject({ code: 0 });
  });

  test('refuses a file that cannot be read, and a mirror.yaml, which has a setting', async () => {
    await writeFile(root, '{}');
    expect(await sync('--trusted-root', root)).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/^mirror-sync sync: read --trusted-root \S+: its mediaType "" is unknown/),
    });
    expect(await runMain(['sync', '--config', 'x.yaml', '--to', scene.archive, '--trusted-root', root])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('a mirror.yaml has a setting for it'),
    });
  });
});
