/** `sync --attest-key` for an archive that had images before its policy wanted attestations. */
import { writeFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { openArchive } from '../../../lib/app/open-archive.ts';
import { withPolicy } from '../../../lib/archive/tag-index/withheld.ts';
import { NO_POLICY } from '../../../lib/policy/policy.ts';
import { makeImage } from '../../kit/images.ts';
import { runMain } from '../../kit/in-process.ts';
import { openScene } from '../../kit/scene.ts';
import { keyPair, pemOf } from '../../kit/sigstore.ts';

test('a sync attests unchanged images, and says in one line that the key is missing, with --quiet as well', async () => {
  const { registry, folder, archive } = await openScene();
  for (const tag of ['1', '2']) registry.push('app', makeImage(), tag);
  const { publicKey, privateKey } = keyPair();
  await writeFile(folder.join('key.pub'), pemOf(publicKey));
  await writeFile(folder.join('key.pem'), privateKey.export({ format: 'pem', type: 'pkcs8' }));
  const repository = `${registry.host}/app`;
  const sync = (...options: string[]): ReturnType<typeof runMain> =>
    runMain(['sync', `${repository}:1`, `${repository}:2`, '--to', archive, ...options]);
  await sync();
  {
    const { signal } = new AbortController();
    await using opened = await openArchive(archive, 'write', { env: {}, signal, platform: process.platform });
    await opened.archive.updatePolicy(repository, (index) => withPolicy(index, { ...NO_POLICY, attest: 'require' }));
  }
  expect(await sync()).toMatchObject({
    code: 0,
    stderr: expect.stringMatching(
      /^\S+ attest images of \S+: no attestation key is set; set --attest-key or MIRROR_SYNC_ATTEST_KEY\n$/,
    ),
  });
  expect(await sync('--quiet', '--attest-key', folder.join('none.pem'))).toMatchObject({
    code: 0,
    stderr: expect.stringMatching(
      /^\S+ attest images of \S+: read attestation key \S+none\.pem: no such file or directory\n$/,
    ),
  });
  expect(await sync('--attest-key', folder.join('key.pem'))).toMatchObject({
    code: 0,
    stdout: expect.stringContaining('0 mirrored, 2 unchanged, 0 failed'),
    stderr: '',
  });
  const verified = await runMain(['verify', archive, '--attest-public-key', folder.join('key.pub')]);
  expect(verified).toMatchObject({ code: 0 });
});
