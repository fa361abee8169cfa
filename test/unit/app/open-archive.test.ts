import { symlink, writeFile } from 'node:fs/promises';
import { expect, test, vi } from 'vitest';
import { openArchive } from '../../../lib/app/open-archive.ts';
import type { Host } from '../../../lib/app/host.ts';
import { tempFolder } from '../../kit/temp.ts';

const host: Host = { env: {}, signal: new AbortController().signal, platform: process.platform };

test.each(['read', 'write'] as const)('opens no folder for an address of another tool, to %s', async (purpose) => {
  await expect(openArchive('oci-archive:x.tar', purpose, host)).rejects.toMatchObject({
    code: 'invalid',
    message: expect.stringContaining('./x.tar') as string,
  });
});

// A link to itself fails as a folder without permission does, also for root.
test.each(['', 'repositories'])(
  'a folder that the system does not open is not reported as missing: ./%s',
  async (part) => {
    await using folder = await tempFolder();
    const archive = part === '' ? folder.join('a') : folder.path;
    const link = part === '' ? archive : folder.join(part);
    await symlink(link, link);
    await expect(openArchive(archive, 'read', host)).rejects.toMatchObject({
      side: 'archive',
      message: expect.stringContaining(`open archive ${archive}: its path has too many symbolic links`) as string,
    });
  },
);

test('a file is refused as a file', async () => {
  await using folder = await tempFolder();
  await writeFile(folder.join('f'), '');
  await expect(openArchive(folder.join('f'), 'read', host)).rejects.toThrow(
    'is not a mirror-sync archive (it is a file)',
  );
});

test.each(['read', 'write'] as const)(
  'a relative name in a deleted working directory is wrong usage (%s)',
  async (purpose) => {
    using cwd = vi.spyOn(process, 'cwd').mockImplementation(() => {
      throw Object.assign(new Error('ENOENT: process.cwd failed'), { code: 'ENOENT', syscall: 'uv_cwd' });
    });
    await expect(openArchive('base', purpose, host)).rejects.toMatchObject({
      side: 'input',
      message: 'open archive base: the working directory was deleted; change to another directory',
    });
    expect(cwd).toHaveBeenCalled();
  },
);
