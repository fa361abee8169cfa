import { writeFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openArchive } from '../../lib/app/open-archive.ts';
import { withPolicy } from '../../lib/archive/tag-index/withheld.ts';
import { NO_POLICY } from '../../lib/policy/policy.ts';
import { makeImage, makeIndex, makeLayer } from '../kit/images.ts';
import { runMain } from '../kit/in-process.ts';
import { isInstalled, run } from '../kit/real.ts';
import { startRegistry, type TestRegistry } from '../kit/registry.ts';
import { serving } from '../kit/serving.ts';
import { keyPair, pemOf } from '../kit/sigstore.ts';
import { type TempFolder, tempFolder } from '../kit/temp.ts';

const INDEX = makeIndex([makeImage({ layers: [makeLayer()] })]);
const PREDICATE = 'https://mirror-sync.dev/mirrored/v1';

let registry: TestRegistry;
let folder: TempFolder;

beforeAll(async () => {
  [registry, folder] = await Promise.all([startRegistry(), tempFolder()]);
  registry.push('app', INDEX, '1');
  for (const name of ['key', 'other']) {
    const { publicKey, privateKey } = keyPair();
    await writeFile(folder.join(`${name}.pub`), pemOf(publicKey));
    await writeFile(folder.join(`${name}.pem`), privateKey.export({ format: 'pem', type: 'pkcs8' }));
  }
  const { signal } = new AbortController();
  await using opened = await openArchive(folder.join('archive'), 'write', {
    env: {},
    signal,
    platform: process.platform,
  });
  await opened.archive.updatePolicy(`${registry.host}/app`, (index) =>
    withPolicy(index, { ...NO_POLICY, attest: 'require' }),
  );
});

afterAll(async () => {
  await registry.close();
  await folder[Symbol.asyncDispose]();
});

describe('the attestation of a mirrored image', () => {
  test('is made with the key of the command line, and verify accepts that key only', async () => {
    const archive = folder.join('archive');
    const reference = `${registry.host}/app:1`;
    const synced = await runMain(['sync', reference, '--to', archive, '--attest-key', folder.join('key.pem')]);
    expect(synced).toMatchObject({ code: 0, stderr: '' });
    const verify = (name: string): ReturnType<typeof runMain> =>
      runMain(['verify', archive, '--attest-public-key', folder.join(`${name}.pub`)]);
    expect(await verify('key')).toMatchObject({ code: 0 });
    expect(await verify('other')).toMatchObject({
      code: 1,
      stdout: expect.stringContaining('it has no attestation by key sha256:'),
    });
  });

  // Skipped if cosign is not installed: building it takes minutes.
  test.skipIf(!isInstalled('cosign'))(
    'is accepted by cosign from the served archive, and with its key only',
    async () => {
      await using server = await serving(folder.join('archive'));
      const image = `${server.host}/${registry.host.replace(':', '_')}/app@${INDEX.digest}`;
      const verify = (name: string): Promise<string> =>
        run('cosign', [
          'verify-attestation',
          ...['--key', folder.join(`${name}.pub`), '--type', PREDICATE],
          ...['--insecure-ignore-tlog', '--allow-http-registry', image],
        ]);
      const { payload } = JSON.parse(await verify('key')) as { payload: string };
      expect(JSON.parse(Buffer.from(payload, 'base64').toString())).toMatchObject({
        predicateType: PREDICATE,
        predicate: { proven: { platforms: 'all', manifests: [{ digest: INDEX.digest }, {}] } },
      });
      await expect(verify('other')).rejects.toThrow();
    },
  );
});
