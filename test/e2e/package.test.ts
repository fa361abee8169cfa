/** The npm package: its content, its licences, and a program that imports it by name. */
import { execFile } from 'node:child_process';
import { cp, mkdtemp, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { makeImage, makeLayer } from '../kit/images.ts';
import { type InstalledPackage, installPackage } from '../kit/package.ts';
import { startProxy, startSocksProxy } from '../kit/proxy.ts';
import { startRegistry } from '../kit/registry.ts';
import { startS3Server } from '../kit/s3-server.ts';
import { skippedFor } from '../kit/skipped.ts';
import { TLS } from '../kit/tls.ts';

const ROOT = join(import.meta.dirname, '../..');
const IMAGE = makeImage({ layers: [makeLayer({ seed: 1, size: 100_000 })] });

const run = promisify(execFile);

interface Component {
  readonly name: string;
  readonly version: string;
  readonly purl: string;
  readonly hashes: unknown;
  readonly licenses: unknown;
}

let installed: InstalledPackage;
beforeAll(async () => {
  installed = await installPackage();
  await cp(join(ROOT, 'examples/mirror.ts'), installed.project.join('mirror.ts'));
});
afterAll(() => installed[Symbol.asyncDispose]());

/** Runs the example, and gives the lines that it prints. */
async function example(env: Readonly<Record<string, string>>, ...args: readonly string[]): Promise<string[]> {
  const { DOCKER_CONFIG: _docker, REGISTRY_AUTH_FILE: _authfile, ...inherited } = process.env;
  const { stdout } = await run(process.execPath, ['mirror.ts', ...args], {
    cwd: installed.project.path,
    env: { ...inherited, ...env },
  });
  return stdout.trimEnd().split('\n');
}

describe('the npm package', () => {
  test('contains the program, its types and documents and the examples, and no sources, tests or functions', () => {
    const top = installed.files.map((path) =>
      path
        .split('/')
        .slice(0, path.startsWith('dist/') ? 2 : 1)
        .join('/'),
    );
    expect([...new Set(top)].sort()).toEqual([
      'CHANGELOG.md',
      'CONTRIBUTING.md',
      'LICENSE',
      'README.md',
      'SECURITY.md',
      'dist/THIRD-PARTY-NOTICES.txt',
      'dist/cli',
      'dist/sbom.cdx.json',
      'dist/types',
      'docs',
      'examples',
      'mirror.schema.json',
      'package.json',
    ]);
  });

  test('installs no dependencies', async () => {
    const manifest = JSON.parse(await installed.read('package.json')) as Record<string, unknown>;
    for (const kind of ['dependencies', 'optionalDependencies', 'peerDependencies'])
      expect(manifest).not.toHaveProperty(kind);
  });

  test('has a command that prints its version', async () => {
    const command = installed.project.join('node_modules/.bin/mirror-sync');
    const { version } = JSON.parse(await installed.read('package.json')) as { version: string };
    expect(await run(process.execPath, [command, '--version'])).toEqual({ stdout: `${version}\n`, stderr: '' });
  });

  test('lists the packages in its bundle as npm knows them, with the licence of each', async () => {
    const { components } = JSON.parse(await installed.read('dist/sbom.cdx.json')) as { components: Component[] };
    expect(components.map(({ name }) => name)).toEqual(
      expect.arrayContaining(['undici', 'yaml', '@aws-sdk/client-s3', 'bcryptjs', 'hono']),
    );
    const options = { cwd: ROOT, maxBuffer: 64 * 1024 * 1024 };
    const { stdout } = await run('npm', ['sbom', '--package-lock-only', '--sbom-format', 'cyclonedx'], options);
    const known = new Map(
      (JSON.parse(stdout) as { components: Component[] }).components.map((each) => [each.purl, each]),
    );
    const notices = await installed.read('dist/THIRD-PARTY-NOTICES.txt');
    for (const { name, version, purl, hashes, licenses } of components) {
      expect(known.get(purl)).toMatchObject({ name, version, hashes, licenses });
      expect(notices).toContain(`\n${name} ${version} (`);
    }
  });

  test('can be required by a CommonJS program', async () => {
    const program = "process.stdout.write(Object.keys(require('mirror-sync')).sort().join())";
    const { stdout } = await run(process.execPath, ['--eval', program, '--input-type=commonjs'], {
      cwd: installed.project.path,
    });
    expect(stdout).toBe('Failure,openArchive,sync,verify');
  });

  test('has types with which the example compiles in a strict project', async () => {
    const compilerOptions = {
      target: 'es2024',
      lib: ['es2024', 'esnext.disposable'],
      module: 'nodenext',
      types: ['node'],
      strict: true,
      exactOptionalPropertyTypes: true,
      noEmit: true,
    };
    const config = installed.project.join('tsconfig.json');
    await writeFile(config, JSON.stringify({ compilerOptions, files: ['mirror.ts', 'wrong.ts'] }));
    await writeFile(
      installed.project.join('wrong.ts'),
      "import { sync } from 'mirror-sync';\n// @ts-expect-error `to` is a folder or a handle\nvoid sync(['alpine'], { to: 1 });\n",
    );
    const tsc = join(ROOT, 'node_modules/typescript/bin/tsc');
    const ended = await run(process.execPath, [tsc, '--project', config]).catch((error: unknown) => error);
    expect(ended).toEqual({ stdout: '', stderr: '' });
  });

  test('mirrors with the example into a folder, lists the tag and verifies it', async () => {
    await using registry = await startRegistry();
    registry.push('team/app', IMAGE, '1');
    const lines = (count: string, status: string): string[] => [
      `${installed.project.join('archive')}: ${count}`,
      `  ${registry.host}/team/app:1: ${status}`,
      `  ${registry.host}/team/app 1 is ${IMAGE.digest}`,
      '  3 objects verified, 0 problems',
    ];
    const args = [`${registry.host}/team/app:1`, './archive'];
    expect(await example({}, ...args)).toEqual(lines('1 mirrored, 0 unchanged', 'mirrored'));
    expect(await example({}, ...args)).toEqual(lines('0 mirrored, 1 unchanged', 'unchanged'));
  });
});

describe('the program of the npm package', () => {
  test.each([
    ['an HTTP proxy', startProxy, 'CONNECT mirror-sync.test:443'],
    ['a SOCKS proxy', startSocksProxy, 'SOCKS user@mirror-sync.test:443'],
  ])('mirrors from a registry that it reaches over TLS through %s', async (_, start, asked) => {
    await using registry = await startRegistry({ tls: true });
    await using proxy = await start(registry.port);
    registry.push('team/app', IMAGE, '1');
    const ca = installed.project.join('ca.pem');
    await writeFile(ca, TLS.cert);
    const archive = await mkdtemp(installed.project.join('archive-'));
    const command = installed.project.join('node_modules/.bin/mirror-sync');
    const { stdout } = await run(process.execPath, [command, 'sync', 'mirror-sync.test/team/app:1', '--to', archive], {
      env: {
        ...process.env,
        NODE_EXTRA_CA_CERTS: ca,
        HTTPS_PROXY: proxy.url.replace('//', '//user:secret@'),
        https_proxy: '',
        NO_PROXY: '',
        no_proxy: '',
        REGISTRY_AUTH_FILE: '',
        DOCKER_CONFIG: archive,
      },
    });
    expect(stdout).toContain(`mirror-sync.test/team/app:1: mirrored  ${IMAGE.digest}`);
    expect(new Set(proxy.asked)).toEqual(new Set([asked]));
  });
});

const server = await startS3Server();
describe('the npm package and S3', () => {
  if ('skipped' in server) {
    skippedFor(server.skipped);
    return;
  }
  afterAll(() => server.close());

  test('mirrors with the example into a bucket, lists the tag and verifies it', async () => {
    await using registry = await startRegistry();
    registry.push('team/app', IMAGE, '1');
    const address = `s3://${await server.bucket()}/mirror`;
    expect(await example(server.env, `${registry.host}/team/app:1`, address)).toEqual([
      `${address}: 1 mirrored, 0 unchanged`,
      `  ${registry.host}/team/app:1: mirrored`,
      `  ${registry.host}/team/app 1 is ${IMAGE.digest}`,
      '  3 objects verified, 0 problems',
    ]);
  });
});

describe('the documentation of the library', () => {
  test('names every export', async () => {
    const declarations = await installed.read('dist/types/index.d.ts');
    const text = await readFile(join(ROOT, 'docs/api.md'), 'utf8');
    const functions = [...declarations.matchAll(/^export declare function (\w+)/gm)].map(([, name]) => name);
    expect(functions.sort()).toEqual(['openArchive', 'sync', 'verify']);
    for (const name of functions) expect(text).toContain(`### \`${name}(`);
    const options = /interface SyncOptions [^{]*\{(.*?)^\}/ms.exec(declarations)?.[1] ?? '';
    for (const [, name] of options.matchAll(/readonly (\w+)\??:/g)) expect(text).toContain(`| \`${name}\` |`);
  });
});
