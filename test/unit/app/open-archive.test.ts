import { expect, test } from 'vitest';
import { openArchive } from '../../../lib/app/open-archive.ts';

test.each(['read', 'write'] as const)('opens no folder for an address of another tool, to %s', async (purpose) => {
  const host = { env: {}, signal: new AbortController().signal, platform: process.platform };
  await expect(openArchive('oci-archive:x.tar', purpose, host)).rejects.toMatchObject({
    code: 'invalid',
    message: expect.stringContaining('./x.tar') as string,
  });
});
