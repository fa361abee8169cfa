import { writeFile } from 'node:fs/promises';
import { PassThrough } from 'node:stream';
import { describe, expect, test } from 'vitest';
import { readConfig } from '../../../lib/app/config-file.ts';
import { startSigstore } from '../../kit/sigstore.ts';
import { type TempFolder, tempFolder } from '../../kit/temp.ts';

async function configIn(folder: TempFolder, root?: Uint8Array): Promise<string> {
  const path = folder.join('mirror.yaml');
  await writeFile(
    path,
    'version: 1\ntrustedRoot: trusted_root.json\nmirrors: [{ source: registry.test/app, tags: all }]\n',
  );
  if (root !== undefined) await writeFile(folder.join('trusted_root.json'), root);
  return path;
}

test('an abort ends the wait for standard input', async () => {
  const controller = new AbortController();
  const stdin = new PassThrough();
  const reading = readConfig('-', { stdin, signal: controller.signal });
  controller.abort(new Error('stopped'));
  await expect(reading).rejects.toThrow('stopped');
  stdin.end();
});

describe('the trusted root of a configuration', () => {
  test('is read from the folder of the configuration', async () => {
    await using folder = await tempFolder();
    const { trustedRoot } = await startSigstore();
    expect(await readConfig(await configIn(folder, trustedRoot), {})).toMatchObject({ root: trustedRoot });
  });

  test('is a wrong configuration if it is missing or cannot be used', async () => {
    await using folder = await tempFolder();
    const path = await configIn(folder);
    await expect(readConfig(path, {})).rejects.toThrow(/^read trustedRoot trusted_root\.json: .*no such file/i);
    await configIn(folder, Buffer.from('{"mediaType":"text/plain"}'));
    await expect(readConfig(path, {})).rejects.toThrow(
      'read trustedRoot trusted_root.json: its mediaType "text/plain" is unknown',
    );
  });
});
