import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { delimiter } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Failure } from '../../../lib/base/failure.ts';
import { loadCredentials, parseDockerConfig } from '../../../lib/registry/credentials.ts';
import { tempFolder, type TempFolder } from '../../kit/temp.ts';

const auth = (text: string): string => Buffer.from(text).toString('base64');
const config = (value: object): ReturnType<typeof parseDockerConfig> =>
  parseDockerConfig(JSON.stringify(value), 'c.json');

describe('auths', () => {
  test('the most specific key wins', async () => {
    const credentials = config({
      auths: {
        'r.example': { auth: auth('host:1') },
        'r.example/team': { auth: auth('team:2') },
        'r.example/team/app': { auth: auth('app:3:with:colons') },
      },
    });
    expect(await credentials.find('r.example', 'team/app')).toMatchObject({
      username: 'app',
      password: '3:with:colons',
    });
    expect(await credentials.find('r.example', 'team/other')).toMatchObject({ username: 'team' });
    expect(await credentials.find('r.example', 'teamwork/app')).toMatchObject({ username: 'host' });
    expect(await credentials.find('other.example', 'team/app')).toBeUndefined();
  });

  // What docker login, podman login and their older versions have written.
  test.each([
    ['https://index.docker.io/v1/', 'docker.io'],
    ['index.docker.io', 'docker.io'],
    ['docker.io', 'docker.io'],
    ['https://registry-1.docker.io/v2/', 'docker.io'],
    ['https://R.example:5000', 'r.example:5000'],
    ['http://r.example/v2/', 'r.example'],
  ])('%s is %s', async (key, host) => {
    const credentials = config({ auths: { [key]: { auth: auth('u:p') } } });
    expect(await credentials.find(host, 'library/alpine')).toEqual({
      username: 'u',
      password: 'p',
      from: `c.json: auths["${key}"]`,
    });
  });

  test('hold passwords, identity tokens and registry tokens', async () => {
    const credentials = config({
      auths: {
        a: { username: 'u', password: 'p' },
        b: { auth: auth('00000000-0000-0000-0000-000000000000:'), identitytoken: 'i' },
        c: { registrytoken: 'r' },
        d: {},
      },
    });
    expect(await credentials.find('a', 'x')).toMatchObject({ username: 'u', password: 'p' });
    expect(await credentials.find('b', 'x')).toMatchObject({ identityToken: 'i' });
    expect(await credentials.find('c', 'x')).toMatchObject({ registryToken: 'r' });
    expect(await credentials.find('d', 'x')).toBeUndefined();
  });

  // An error about a secret must not tell it.
  test('a broken file is named with its key, and not quoted', () => {
    const broken = [
      '{"auths": {"r": {"auth": "c2VjcmV0"}}}',
      '{"auths": {"r": {"password": ["secret"]}}}',
      '{"auths": {"r": "secret"}}',
      '{"auths": "secret"}',
      '{"credHelpers": {"r": "../secret"}}',
      '{"secret"',
      '"secret"',
    ];
    for (const text of broken) {
      expect(() => parseDockerConfig(text, 'c.json')).toThrow(/^read credentials: c\.json: /);
      expect(() => parseDockerConfig(text, 'c.json')).not.toThrow(/secret|c2VjcmV0/);
    }
  });

  test('nothing throws but a Failure', () => {
    fc.assert(
      fc.property(fc.oneof(fc.json(), fc.string()), (text) => {
        try {
          parseDockerConfig(text, 'c.json');
        } catch (thrown) {
          expect(thrown).toBeInstanceOf(Failure);
        }
      }),
    );
  });
});

describe('credential helpers', () => {
  /** An environment whose only helper is this script. */
  async function helper(folder: TempFolder, script: string): Promise<{ env: Record<string, string> }> {
    const file = folder.join('docker-credential-fake');
    await writeFile(file, `#!/bin/sh\n${script}\n`);
    await chmod(file, 0o755);
    return { env: { PATH: `${folder.path}${delimiter}/usr/bin${delimiter}/bin` } };
  }

  test('are asked by the server’s name, Docker Hub by its old address', async () => {
    await using folder = await tempFolder();
    const options = await helper(
      folder,
      'read -r server || true\nprintf \'{"ServerURL":"x","Username":"%s","Secret":"%s"}\' "$1" "$server"',
    );
    const text = '{"credsStore":"fake","credHelpers":{"r.example":"fake"}}';
    const credentials = parseDockerConfig(text, 'c.json', options);
    expect(await credentials.find('r.example', 'x')).toEqual({
      username: 'get',
      password: 'r.example',
      from: 'c.json: credHelpers["r.example"]',
    });
    expect(await credentials.find('docker.io', 'x')).toMatchObject({
      password: 'https://index.docker.io/v1/',
      from: 'c.json: credsStore',
    });
  });

  test('may hold an identity token', async () => {
    await using folder = await tempFolder();
    const options = await helper(folder, 'echo \'{"Username":"<token>","Secret":"s"}\'');
    const found = await parseDockerConfig('{"credsStore":"fake"}', 'c.json', options).find('r', 'x');
    expect(found).toMatchObject({ identityToken: 's' });
    expect(found).not.toHaveProperty('password');
  });

  test('that know nothing are no error', async () => {
    await using folder = await tempFolder();
    const options = await helper(folder, 'echo "credentials not found in native keychain"; exit 1');
    const text = JSON.stringify({ credsStore: 'fake', auths: { r: { auth: auth('u:p') } } });
    const credentials = parseDockerConfig(text, 'c.json', options);
    expect(await credentials.find('r', 'x')).toMatchObject({ username: 'u' });
    expect(await credentials.find('s', 'x')).toBeUndefined();
  });

  test.each([
    ['echo "the keychain is locked" >&2; exit 1', 'docker-credential-fake failed: the keychain is locked'],
    ['echo secret', 'docker-credential-fake answered something that is not a credential'],
    ['exec sleep 60', 'docker-credential-fake did not answer within 0.2 s'],
  ])('that fail (%s) are told, with file and key', async (script, told) => {
    await using folder = await tempFolder();
    const { env } = await helper(folder, script);
    const timeoutMs = script.includes('sleep') ? 200 : 30_000;
    const credentials = parseDockerConfig('{"credsStore":"fake"}', 'c.json', { env, timeoutMs });
    await expect(credentials.find('r', 'x')).rejects.toThrow(
      `ask docker-credential-fake for r: c.json: credsStore: ${told}`,
    );
  });

  test('that are not installed are told', async () => {
    await using folder = await tempFolder();
    const credentials = parseDockerConfig('{"credsStore":"fake"}', 'c.json', { env: { PATH: folder.path } });
    await expect(credentials.find('r', 'x')).rejects.toThrow('docker-credential-fake is not installed');
  });

  test('are killed when the caller gives up', async () => {
    await using folder = await tempFolder();
    const options = await helper(folder, 'exec sleep 60');
    const abort = new AbortController();
    const credentials = parseDockerConfig('{"credsStore":"fake"}', 'c.json', options);
    const asking = credentials.find('r', 'x', { signal: abort.signal });
    abort.abort();
    await expect(asking).rejects.toMatchObject({ code: 'aborted' });
  });
});

describe('where they lie', () => {
  const user = async (credentials: ReturnType<typeof loadCredentials>): Promise<string | undefined> =>
    (await (await credentials).find('r.example', 'x'))?.username;

  test('the file that was named, or what Docker and Podman use', async () => {
    await using folder = await tempFolder();
    const write = async (name: string, path: string): Promise<string> => {
      const file = folder
        .join(path, 'file.json')
        .replace(/file\.json$/, path.endsWith('containers') ? 'auth.json' : 'config.json');
      await mkdir(folder.join(path), { recursive: true });
      await writeFile(file, JSON.stringify({ auths: { 'r.example': { auth: auth(`${name}:p`) } } }));
      return file;
    };
    const home = folder.join('home');
    expect(await user(loadCredentials({ env: {}, home }))).toBeUndefined();
    await write('podman', 'run/containers');
    const env = { XDG_RUNTIME_DIR: folder.join('run') };
    expect(await user(loadCredentials({ env, home }))).toBe('podman');
    await write('home', 'home/.docker');
    expect(await user(loadCredentials({ env, home }))).toBe('home');
    await write('docker', 'docker');
    const docker = { ...env, DOCKER_CONFIG: folder.join('docker') };
    expect(await user(loadCredentials({ env: docker, home }))).toBe('docker');
    const named = await write('named', 'named');
    expect(await user(loadCredentials({ env: { ...docker, REGISTRY_AUTH_FILE: named }, home }))).toBe('named');
    const authfile = await write('told', 'told');
    expect(await user(loadCredentials({ authfile, env: { REGISTRY_AUTH_FILE: named }, home }))).toBe('told');
  });

  test('a file that was named must be there', async () => {
    await using folder = await tempFolder();
    const authfile = folder.join('none.json');
    await expect(loadCredentials({ authfile, env: {}, home: folder.path })).rejects.toThrow(
      `read credentials ${authfile}: no such file or directory`,
    );
  });
});
