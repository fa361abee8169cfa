import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { delimiter, dirname, join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Failure } from '../../../lib/core/failure.ts';
import { basicAuthorization } from '../../../lib/registry/auth/challenge.ts';
import { loadCredentials, parseDockerConfig } from '../../../lib/registry/auth/credentials.ts';
import { tempFolder, type TempFolder } from '../../kit/temp.ts';

const auth = (text: string): string => Buffer.from(text).toString('base64');
const config = (value: object): ReturnType<typeof parseDockerConfig> =>
  parseDockerConfig(JSON.stringify(value), 'c.json');

describe('auths', () => {
  test('use the entry with the most specific key', async () => {
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

  // docker login, podman login and their older versions have written these keys.
  test.each([
    ['https://index.docker.io/v1/', 'docker.io'],
    ['index.docker.io', 'docker.io'],
    ['docker.io', 'docker.io'],
    ['https://registry-1.docker.io/v2/', 'docker.io'],
    ['https://R.example:5000', 'r.example:5000'],
    ['http://r.example/v2/', 'r.example'],
    ['https://r.example/artifactory/api/docker/x/v2/', 'r.example'],
  ])('treat the key %s as %s', async (key, host) => {
    const credentials = config({ auths: { [key]: { auth: auth('u:p') } } });
    expect(await credentials.find(host, 'library/alpine')).toEqual({
      username: 'u',
      password: 'p',
      from: `c.json: auths["${key}"]`,
    });
  });

  const good = { auth: auth('good:p') };
  const stale = { auth: auth('stale:p') };

  test.each([
    ['that is the host itself', 'r.example', { 'r.example': good, 'https://r.example/v1/': stale }],
    ['that is the host itself, in any order', 'r.example', { 'https://r.example/v1/': stale, 'r.example': good }],
    ['that has a login', 'r.example', { 'r.example': {}, 'https://r.example': good }],
    ['that has a login, in any order', 'r.example', { 'r.example': good, 'https://r.example': {} }],
    ['that is the name of Docker Hub', 'docker.io', { 'docker.io': good, 'https://index.docker.io/v1/': stale }],
    ['that has a login for Docker Hub', 'docker.io', { 'https://index.docker.io/v1/': good, 'docker.io': {} }],
    [
      'that is not the URL of something else',
      'docker.io',
      { 'https://index.docker.io/v1/access-token': stale, 'https://index.docker.io/v1/': good },
    ],
  ])('of several keys for one host use the one %s', async (_, host, auths) => {
    expect(await config({ auths }).find(host, 'library/alpine')).toMatchObject({ username: 'good' });
  });

  test('may have names in any case', async () => {
    const credentials = config({ Auths: { 'r.example': { Auth: auth('u:p') } } });
    expect(await credentials.find('r.example', 'x')).toMatchObject({ username: 'u', password: 'p' });
  });

  test.each([
    ['has an empty password', { auth: auth('tok:') }, { username: 'tok', password: '' }],
    ['has an empty password in a field', { username: 'tok', password: '' }, { username: 'tok', password: '' }],
    ['has a user only', { username: 'tok' }, undefined],
    ['has an empty password only', { password: '' }, undefined],
    ['is padded with zero bytes', { auth: auth('u:p\0\0') }, { username: 'u', password: 'p' }],
    ['has empty fields', { auth: null, username: null }, undefined],
  ])('with an entry that %s are read as other clients read them', async (_, entry, login) => {
    const found = await config({ auths: { r: entry } }).find('r', 'x');
    expect(found).toEqual(login && { ...login, from: 'c.json: auths["r"]' });
  });

  test('keep the bytes of a password that is not UTF-8', async () => {
    const encoded = Buffer.from('u:\xe9', 'latin1').toString('base64');
    const found = await config({ auths: { r: { auth: encoded } } }).find('r', 'x');
    expect(found && basicAuthorization(found)).toBe(`Basic ${encoded}`);
  });

  test('contain passwords, identity tokens and registry tokens', async () => {
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

  test.each(['{"auth": "c2VjcmV0"}', '{"password": ["secret"]}', '"secret"'])(
    'report a wrong entry (%s) when it is used, with its key and without its value',
    async (entry) => {
      const credentials = parseDockerConfig(`{"auths": {"r": ${entry}, "s": {"auth": "${auth('u:p')}"}}}`, 'c.json');
      expect(await credentials.find('s', 'x')).toMatchObject({ username: 'u' });
      const used = credentials.find('r', 'x');
      await expect(used).rejects.toThrow(/^read credentials: c\.json: auths\["r"\]: /);
      await expect(used).rejects.not.toThrow(/secret|c2VjcmV0/);
    },
  );

  test('report an invalid file with its name and without its content', () => {
    const broken = ['{"auths": "secret"}', '{"secret"', '"secret"'];
    for (const text of broken) {
      expect(() => parseDockerConfig(text, 'c.json')).toThrow(/^read credentials: c\.json: /);
      expect(() => parseDockerConfig(text, 'c.json')).not.toThrow(/secret|c2VjcmV0/);
    }
  });

  test('throw only Failures', () => {
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

  test("are asked for the server's name, and for Docker Hub by its old address", async () => {
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

  test('are asked for Docker Hub by its name if they do not know its address', async () => {
    await using folder = await tempFolder();
    const options = await helper(
      folder,
      'read -r server || true\n[ "$server" = docker.io ] || { echo "credentials not found"; exit 1; }\n' +
        'echo \'{"Username":"u","Secret":"p"}\'',
    );
    for (const text of ['{"credHelpers":{"docker.io":"fake"}}', '{"credsStore":"fake"}']) {
      const found = await parseDockerConfig(text, 'c.json', options).find('docker.io', 'x');
      expect(found).toMatchObject({ username: 'u', password: 'p' });
    }
  });

  test.each(['echo "credentials not found"; exit 1', 'exit 1'])(
    'are asked once for concurrent callers, and not again if they have no login (%s)',
    async (script) => {
      await using folder = await tempFolder();
      const options = await helper(folder, `echo asked >> ${folder.join('asked')}; ${script}`);
      const credentials = parseDockerConfig('{"credsStore":"fake"}', 'c.json', options);
      const find = (path: string) => credentials.find('r', path);
      expect(await Promise.all(['a', 'b', 'c'].map(find))).toEqual([undefined, undefined, undefined]);
      expect(await find('d')).toBeUndefined();
      expect(await readFile(folder.join('asked'), 'utf8')).toBe('asked\n');
    },
  );

  test('may print a key twice, and the last value counts', async () => {
    await using folder = await tempFolder();
    const options = await helper(folder, 'echo \'{"ServerURL":"x","Username":"u","Secret":"a","Secret":"b"}\'');
    const found = await parseDockerConfig('{"credsStore":"fake"}', 'c.json', options).find('r', 'x');
    expect(found).toMatchObject({ username: 'u', password: 'b' });
  });

  test('may print keys in any case', async () => {
    await using folder = await tempFolder();
    const options = await helper(folder, 'echo \'{"username":"u","secret":"s"}\'');
    const found = await parseDockerConfig('{"credsStore":"fake"}', 'c.json', options).find('r', 'x');
    expect(found).toMatchObject({ username: 'u', password: 's' });
  });

  test('may return an identity token', async () => {
    await using folder = await tempFolder();
    const options = await helper(folder, 'echo \'{"Username":"<token>","Secret":"s"}\'');
    const found = await parseDockerConfig('{"credsStore":"fake"}', 'c.json', options).find('r', 'x');
    expect(found).toMatchObject({ identityToken: 's' });
    expect(found).not.toHaveProperty('password');
  });

  test('without an entry do not cause an error', async () => {
    await using folder = await tempFolder();
    const options = await helper(folder, 'echo "credentials not found in native keychain"; exit 1');
    const text = JSON.stringify({ credsStore: 'fake', auths: { r: { auth: auth('u:p') } } });
    const credentials = parseDockerConfig(text, 'c.json', options);
    expect(await credentials.find('r', 'x')).toMatchObject({ username: 'u' });
    expect(await credentials.find('s', 'x')).toBeUndefined();
  });

  test.each([
    ['echo "the keychain is locked" >&2; exit 1', 'docker-credential-fake failed: the keychain is locked'],
    ['echo secret', 'docker-credential-fake returned invalid credentials; expected JSON with Username and Secret'],
    ['exec sleep 60', 'docker-credential-fake did not answer within 0.2 s'],
  ])(
    'that fail (%s) leave the entry in auths in use, and are named if credentials are missing',
    async (script, told) => {
      await using folder = await tempFolder();
      const { env } = await helper(folder, script);
      const timeoutMs = script.includes('sleep') ? 200 : 30_000;
      const text = JSON.stringify({ credsStore: 'fake', auths: { s: { auth: auth('u:p') } } });
      const credentials = parseDockerConfig(text, 'c.json', { env, timeoutMs });
      expect(await credentials.find('r', 'x')).toBeUndefined();
      expect(credentials.explain?.('r')).toBe(`c.json: credsStore: ${told}`);
      expect(await credentials.find('s', 'x')).toMatchObject({ username: 'u' });
    },
  );

  test.each([
    [{ credsStore: 'fake' }, 'credsStore: docker-credential-fake is not installed'],
    [{ credHelpers: { r: 'fake' } }, 'credHelpers["r"]: docker-credential-fake is not installed'],
    [{ credHelpers: { r: '../secret' } }, 'credHelpers["r"] must be the name of a credential helper'],
  ])('that cannot be started (%j) are named if credentials are missing', async (value, told) => {
    await using folder = await tempFolder();
    const credentials = parseDockerConfig(JSON.stringify(value), 'c.json', { env: { PATH: folder.path } });
    expect(await credentials.find('r', 'x')).toBeUndefined();
    expect(credentials.explain?.('r')).toContain(`c.json: ${told}`);
  });

  test.each([{ credsStore: 'fake' }, { credHelpers: { r: 'fake' } }])(
    'that return empty output (%j) have no entry',
    async (value) => {
      await using folder = await tempFolder();
      const options = await helper(folder, 'echo \'{"ServerURL":"x","Username":"","Secret":""}\'');
      expect(await parseDockerConfig(JSON.stringify(value), 'c.json', options).find('r', 'x')).toBeUndefined();
    },
  );

  test('are killed when the caller aborts', async () => {
    await using folder = await tempFolder();
    const options = await helper(folder, 'exec sleep 60');
    const abort = new AbortController();
    const credentials = parseDockerConfig('{"credsStore":"fake"}', 'c.json', options);
    const asking = credentials.find('r', 'x', { signal: abort.signal });
    abort.abort();
    await expect(asking).rejects.toMatchObject({ code: 'aborted' });
  });
});

describe('files of credentials', () => {
  const user = async (credentials: ReturnType<typeof loadCredentials>): Promise<string | undefined> =>
    (await (await credentials).find('r.example', 'x'))?.username;

  test('are read in the order of containers-auth.json(5), unless one is named', async () => {
    await using folder = await tempFolder();
    const home = folder.join('home');
    const env = { XDG_RUNTIME_DIR: folder.join('run') };
    const write = async (name: string, ...path: string[]): Promise<string> => {
      const file = join(folder.path, ...path);
      await mkdir(dirname(file), { recursive: true });
      const entry = { auth: auth(`${name}:p`) };
      const legacy = path.at(-1) === '.dockercfg';
      await writeFile(file, JSON.stringify(legacy ? { 'r.example': entry } : { auths: { 'r.example': entry } }));
      return file;
    };
    expect(await user(loadCredentials({ env, home }))).toBeUndefined();
    await write('dockercfg', 'home', '.dockercfg');
    expect(await user(loadCredentials({ env, home }))).toBe('dockercfg');
    await write('docker', 'home', '.docker', 'config.json');
    expect(await user(loadCredentials({ env, home }))).toBe('docker');
    await write('moved', 'moved', 'config.json');
    const moved = { ...env, DOCKER_CONFIG: folder.join('moved') };
    expect(await user(loadCredentials({ env: moved, home }))).toBe('moved');
    await write('podman', 'home', '.config', 'containers', 'auth.json');
    expect(await user(loadCredentials({ env: moved, home }))).toBe('podman');
    await write('xdg', 'xdg', 'containers', 'auth.json');
    const xdg = { ...moved, XDG_CONFIG_HOME: folder.join('xdg') };
    expect(await user(loadCredentials({ env: xdg, home }))).toBe('xdg');
    await write('runtime', 'run', 'containers', 'auth.json');
    expect(await user(loadCredentials({ env: xdg, home }))).toBe('runtime');
    const named = await write('named', 'named.json');
    expect(await user(loadCredentials({ env: { ...xdg, REGISTRY_AUTH_FILE: named }, home }))).toBe('named');
    const authfile = await write('told', 'told.json');
    expect(await user(loadCredentials({ authfile, env: { REGISTRY_AUTH_FILE: named }, home }))).toBe('told');
  });

  test('are listed in a denial, with /run/containers if XDG_RUNTIME_DIR is unset', async () => {
    await using folder = await tempFolder();
    const credentials = await loadCredentials({ env: {}, home: folder.path, uid: 4711 });
    const files = ['.config/containers/auth.json', '.docker/config.json', '.dockercfg'].map((file) =>
      folder.join(file),
    );
    expect(credentials.explain?.('r')).toBe(`looked in /run/containers/4711/auth.json, ${files.join(', ')}`);
  });

  test('must exist if they are named', async () => {
    await using folder = await tempFolder();
    const authfile = folder.join('none.json');
    await expect(loadCredentials({ authfile, env: {}, home: folder.path })).rejects.toThrow(
      `read credentials ${authfile}: no such file or directory`,
    );
  });
});
