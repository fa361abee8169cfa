import { execFile } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { functions, ROOT } from '../../../scripts/bundle.ts';
import { buildBundles } from '../../kit/lambda/stack.ts';
import type { TempFolder } from '../../kit/temp.ts';

const NAMES = functions().map(({ name }) => name);

/** Bytes: what a cold start reads. */
const MAX_BUNDLE = 1_000_000;

describe('the bundles', () => {
  let bundles: TempFolder;

  beforeAll(async () => {
    bundles = await buildBundles();
  });

  afterAll(() => bundles.remove());

  function textOf(name: string): Promise<string> {
    return readFile(bundles.join('functions', name, 'index.mjs'), 'utf8');
  }

  test.each(NAMES)('of %s have at most a million bytes', async (name) => {
    expect(Buffer.byteLength(await textOf(name))).toBeLessThanOrEqual(MAX_BUNDLE);
  });

  test.each(NAMES)('of %s look for credentials only in the environment of Lambda', async (name) => {
    const text = await textOf(name);
    expect(text).toContain('Unable to find environment variable credentials.');
    for (const elsewhere of ['AssumeRoleWithWebIdentity', 'AWS_CONTAINER_CREDENTIALS_FULL_URI', 'credential_process'])
      expect(text).not.toContain(elsewhere);
  });

  test('have the programs of their worker threads, and code for rare cases, next to them', async () => {
    expect(await readdir(bundles.join('functions/layer'))).toEqual([
      'ecr-client.mjs',
      'index.mjs',
      'inflating-worker.mjs',
    ]);
    expect(await readdir(bundles.join('functions/resolver'))).toEqual(expect.arrayContaining(['sigstore.mjs']));
    expect(await textOf('resolver')).not.toContain('inclusion promise could not be verified');
    expect(await readdir(bundles.join('cli'))).toEqual(
      expect.arrayContaining(['bcrypt-worker.mjs', 'inflating-worker.mjs', 'mirror-sync.js']),
    );
    expect(await readdir(bundles.join('functions/finalizer'))).toEqual([
      'index.mjs',
      'inflating-worker.mjs',
      'kms-client.mjs',
    ]);
    expect(await textOf('finalizer')).toContain('import("./kms-client.mjs")');
    expect(await textOf('finalizer')).not.toContain('TrentService');
    const kms = (await import(bundles.join('functions/finalizer/kms-client.mjs'))) as object;
    expect(Object.keys(kms)).toEqual(['GetPublicKeyCommand', 'KMSClient', 'SignCommand']);
    expect(await readdir(bundles.join('functions/dead-letters'))).toEqual(['index.mjs']);
  });

  test('contain only the S3 operations that the code uses', async () => {
    const text = await textOf('layer');
    expect(text).toContain('CompleteMultipartUpload');
    expect(text).not.toContain('GetBucketAnalyticsConfiguration');
  });

  test('contain neither the second HTTP parser of undici nor the event streams of the SDK', async () => {
    const text = await textOf('resolver');
    for (const unused of ['UNDICI_USE_MILO', 'METHODS_RTSP', ':exception-type']) expect(text).not.toContain(unused);
  });

  // Profiles and single sign-on are for the machines of users.
  test('of the command line look for credentials wherever the SDK does', async () => {
    const files = await readdir(bundles.join('cli'));
    const texts = await Promise.all(files.map((file) => readFile(bundles.join('cli', file), 'utf8')));
    const text = texts.join('');
    for (const place of ['AssumeRoleWithWebIdentity', 'credential_process', 'sso_session'])
      expect(text).toContain(place);
    const { stdout } = await promisify(execFile)(process.execPath, [bundles.join('cli/mirror-sync.js'), '--help']);
    expect(stdout).toContain('mirror-sync sync');
  });

  // Loading these takes as long as the start of Node.js.
  test('of the command line load the S3 client, YAML and the server only on demand', async () => {
    const launcher = await readFile(bundles.join('cli/mirror-sync.js'), 'utf8');
    const [, main = ''] = /import\("\.\/(main-\w+\.js)"\)/.exec(launcher) ?? [];
    const read = new Map<string, string>();
    const readAll = async (name: string): Promise<void> => {
      if (read.has(name)) return;
      const text = await readFile(bundles.join('cli', name), 'utf8');
      read.set(name, text);
      for (const [, next = ''] of text.matchAll(/^(?:import|\}) [^;]*?"\.\/([^"]+)";$|^\} from "\.\/([^"]+)";$/gm))
        await readAll(next);
    };
    await readAll(main);
    expect(read.size).toBeGreaterThan(1);
    for (const [name, text] of read)
      for (const later of ['CompleteMultipartUpload', 'YAMLParseError', 'bcrypt-worker.mjs'])
        expect(text, name).not.toContain(later);
  });

  // Node.js 18 and 20 can parse this file.
  test('of the command line refuse an older Node.js before they import a module that it lacks', async () => {
    const launcher = await readFile(bundles.join('cli/mirror-sync.js'), 'utf8');
    expect([...launcher.matchAll(/^import .*$/gm)].map(([line]) => line)).toEqual([
      "import { createRequire as createRequireOfBundle } from 'node:module';",
    ]);
    const { engines } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8')) as { engines: { node: string } };
    for (const [version, isTooOld] of [
      ['18.20.8', true],
      ['23.11.1', true],
      [process.versions.node, false],
    ] as const) {
      const older = `Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '${version}' } })`;
      const args = [
        '--import',
        `data:text/javascript,${encodeURIComponent(older)}`,
        bundles.join('cli/mirror-sync.js'),
      ];
      const ended = await promisify(execFile)(process.execPath, [...args, '--help']).catch((error: unknown) => error);
      if (!isTooOld) expect(ended).toMatchObject({ stderr: '', stdout: expect.stringMatching(/mirror-sync sync/) });
      else
        expect(ended).toMatchObject({
          code: 2,
          stdout: '',
          stderr: `mirror-sync needs Node.js ${engines.node.replace('>=', '')} or newer; this is ${version}\n`,
        });
    }
  });
});
