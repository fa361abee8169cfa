/** The configuration and its trusted root, where a bundle or a bucket contains them. */
import { mkdir, writeFile } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { ConfigLocation } from '../../../lib/config/environment.ts';
import { startSigstore } from '../../kit/sigstore.ts';
import { tempFolder, type TempFolder } from '../../kit/temp.ts';
import { OnMocks } from './on-mocks.ts';

const CONFIG = "version: 1\ntrustedRoot: root.json\nmirrors: [{ source: 'r.example/app', tags: all }]";
const ROOT = String((await startSigstore()).trustedRoot);

let aws: OnMocks;
let bundle: TempFolder;
beforeEach(async () => {
  aws = new OnMocks();
  bundle = await tempFolder();
  vi.stubEnv('LAMBDA_TASK_ROOT', bundle.path);
});
afterEach(async () => {
  aws[Symbol.dispose]();
  await bundle.remove();
});

async function readFrom(location: ConfigLocation): Promise<{ readonly source: unknown; readonly root: unknown }> {
  const { configFrom } = await import('../../../functions/aws.ts');
  const { trustedRootFrom } = await import('../../../functions/trusted-root.ts');
  const config = configFrom(location);
  const root = await trustedRootFrom(location, config)();
  const { mirrors } = await config();
  return { source: mirrors[0]?.source, root: root === undefined ? undefined : Buffer.from(root).toString() };
}

describe('the trusted root is read beside mirror.yaml', () => {
  test('in the bundle', async () => {
    await mkdir(bundle.join('conf'), { recursive: true });
    await writeFile(bundle.join('conf/mirror.yaml'), CONFIG);
    await writeFile(bundle.join('conf/root.json'), ROOT);
    expect(await readFrom({ kind: 'file', path: 'conf/mirror.yaml' })).toEqual({ source: 'r.example/app', root: ROOT });
  });

  test('in the bucket', async () => {
    aws.s3.objects.set('conf/mirror.yaml', Buffer.from(CONFIG));
    aws.s3.objects.set('conf/root.json', Buffer.from(ROOT));
    expect(await readFrom({ kind: 's3', bucket: 'bucket', key: 'conf/mirror.yaml' })).toEqual({
      source: 'r.example/app',
      root: ROOT,
    });
  });
});

test('a file that is missing in the bucket is named with its remedy', async () => {
  await expect(readFrom({ kind: 's3', bucket: 'bucket', key: 'conf/mirror.yaml' })).rejects.toThrow(
    's3://bucket/conf/mirror.yaml does not exist; upload it',
  );
});
