import { existsSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import type { Ended } from '../../kit/command-line.ts';
import { NO_POLICY, type Policy, serialisePolicy } from '../../../lib/policy/policy.ts';
import { runMain } from '../../kit/in-process.ts';
import { tempFolder, type TempFolder } from '../../kit/temp.ts';

let folder: TempFolder;
let archive: string;

beforeEach(async () => {
  folder = await tempFolder();
  archive = folder.join('archive');
  for (const name of ['docker.io/library/alpine', 'docker.io/library/busybox', 'localhost_5000/app'])
    await emptyRepository(name);
});
afterEach(() => folder.remove());

async function emptyRepository(name: string): Promise<void> {
  const path = `${archive}/repositories/${name}`;
  await mkdir(path, { recursive: true });
  await writeFile(`${path}/index.json`, '{"schemaVersion":2,"manifests":[]}');
}

async function setPolicy(name: string, policy: Partial<Policy>): Promise<void> {
  const control = { policy: serialisePolicy({ ...NO_POLICY, ...policy }) };
  const index = { schemaVersion: 2, manifests: [], 'dev.mirror-sync': control };
  await writeFile(`${archive}/repositories/${name}/index.json`, JSON.stringify(index));
}

const config = (...args: string[]): Promise<Ended> => runMain(['client-config', ...args]);
const HTTPS = ['--registry', 'https://mirror.example.com/'];
const HTTP = ['--registry', 'http://mirror.example.com:5000'];

describe('mirror-sync client-config', () => {
  test('prints a hosts.toml of containerd for each registry of the archive', async () => {
    const { code, stdout, stderr } = await config('containerd', ...HTTPS, archive);
    expect([code, stdout]).toEqual([
      0,
      `# /etc/containerd/certs.d/docker.io/hosts.toml
server = "https://registry-1.docker.io"

[host."https://mirror.example.com"]
  capabilities = ["pull", "resolve"]

# /etc/containerd/certs.d/localhost:5000/hosts.toml
server = "http://localhost:5000"

[host."https://mirror.example.com"]
  capabilities = ["pull", "resolve"]
`,
    ]);
    expect(stderr).toContain('note: containerd reads these files if config_path is "/etc/containerd/certs.d"');
  });

  test('names the archive only in an exclusive hosts.toml', async () => {
    const { stdout } = await config('containerd', ...HTTP, '--exclusive');
    expect(stdout).toBe(`# /etc/containerd/certs.d/docker.io/hosts.toml
server = "http://mirror.example.com:5000"

[host."http://mirror.example.com:5000"]
  capabilities = ["pull", "resolve"]
`);
  });

  test('names the archive only, and says why, where a policy withholds images', async () => {
    await setPolicy('docker.io/library/alpine', { minimumAgeMs: 60_000 });
    const { stdout, stderr } = await config('containerd', ...HTTP, archive);
    expect(stdout).toContain('server = "http://mirror.example.com:5000"');
    expect(stdout).not.toContain('registry-1.docker.io');
    expect(stderr).toContain(
      'note: the files are exclusive, because a policy withholds images (docker.io/library/alpine), and the client',
    );
  });

  test('prints no file that is not exclusive if a policy cannot be read', async () => {
    await writeFile(`${archive}/repositories/docker.io/library/alpine/index.json`, '[');
    for (const client of ['containerd', 'docker', 'podman', 'k3s'])
      expect(await config(client, ...HTTPS, archive)).toEqual({
        code: 1,
        stdout: '',
        stderr: expect.stringContaining('read tag index repositories/docker.io/library/alpine/index.json') as string,
      });
    const { code, stdout } = await config('podman', ...HTTPS, archive, '--exclusive');
    expect([code, stdout]).toEqual([0, expect.stringContaining('prefix = "docker.io"') as string]);
  });

  test('prints the daemon.json of Docker, and its limits on standard error', async () => {
    const { stdout, stderr } = await config('docker', ...HTTP, archive);
    expect(JSON.parse(stdout)).toEqual({
      'registry-mirrors': ['http://mirror.example.com:5000'],
      'insecure-registries': ['mirror.example.com:5000'],
    });
    expect(stderr).toMatch(/^\/etc\/docker\/daemon\.json:\n/);
    expect(stderr).toContain('registry-mirrors covers docker.io only, and takes no path');
    expect(stderr).toContain('docker pull mirror.example.com:5000/localhost_5000/…');
    expect(stderr).toContain('--default-host docker.io and without --htpasswd');
    expect(JSON.parse((await config('docker', ...HTTPS)).stdout)).toEqual({
      'registry-mirrors': ['https://mirror.example.com'],
    });
  });

  test('has no exclusive configuration of Docker', async () => {
    const { code, stderr } = await config('docker', ...HTTPS, '--exclusive');
    expect([code, stderr]).toEqual([
      2,
      'mirror-sync client-config: print exclusive files for docker: dockerd asks Docker Hub for an image that its mirror lacks; block Docker Hub in the network instead\n',
    ]);
  });

  test('names the policy that withholds images of Docker Hub from Docker', async () => {
    await setPolicy('docker.io/library/alpine', { minimumAgeMs: 60_000, moved: 'keep' });
    const { code, stderr } = await config('docker', ...HTTPS, archive);
    expect([code, stderr]).toEqual([
      2,
      'mirror-sync client-config: print files for docker: dockerd asks Docker Hub for an image that its mirror lacks, and the policy of docker.io/library/alpine withholds images (minimumAge, moved: keep); block Docker Hub in the network, and leave ARCHIVE out\n',
    ]);
  });

  test('prints the daemon.json of Docker if a policy withholds images of other registries', async () => {
    const expected = await config('docker', ...HTTP, archive);
    await setPolicy('localhost_5000/app', { minimumAgeMs: 60_000 });
    expect(await config('docker', ...HTTP, archive)).toEqual({ ...expected, code: 0 });
  });

  test('prints a file of podman without search registries', async () => {
    const { stdout } = await config('podman', ...HTTP, archive);
    expect(stdout).toBe(`# /etc/containers/registries.conf.d/50-mirror-sync.conf
[[registry]]
location = "docker.io"

[[registry.mirror]]
location = "mirror.example.com:5000/docker.io"
insecure = true

[[registry]]
location = "localhost:5000"

[[registry.mirror]]
location = "mirror.example.com:5000/localhost_5000"
insecure = true
`);
    expect((await config('podman', ...HTTPS, '--exclusive')).stdout).toContain(
      '[[registry]]\nprefix = "docker.io"\nlocation = "mirror.example.com/docker.io"\n',
    );
  });

  test('prints the registries.yaml of k3s', async () => {
    const { stdout } = await config('k3s', ...HTTPS, archive);
    const endpoint = ['https://mirror.example.com'];
    expect(parse(stdout)).toEqual({ mirrors: { 'docker.io': { endpoint }, 'localhost:5000': { endpoint } } });
    const { stderr } = await config('k3s', ...HTTPS, '--exclusive');
    expect(stderr).toContain('--disable-default-registry-endpoint');
  });

  test('ignores a folder of the archive that is not named after a repository', async () => {
    const expected = await config('podman', ...HTTP, archive);
    const name =
      'x.io"\n\n[[registry]]\nprefix = "docker.io"\nlocation = "evil.example"\n\n[[registry]]\nlocation = "y.io';
    for (const host of [name, 'evil\u001B[2J.io']) {
      const path = `${archive}/repositories/${host}/library/alpine`;
      await mkdir(path, { recursive: true });
      await writeFile(`${path}/index.json`, '{"schemaVersion":2,"manifests":[]}');
    }
    expect(await config('podman', ...HTTP, archive)).toEqual(expected);
  });

  test('writes the files, and never over an existing one', async () => {
    const output = folder.join('certs.d');
    const { code, stdout } = await config('containerd', ...HTTPS, archive, '--output', output);
    expect(code).toBe(0);
    expect(stdout).toContain(`${output}/docker.io/hosts.toml  for /etc/containerd/certs.d/docker.io/hosts.toml\n`);
    const written = await readFile(`${output}/localhost:5000/hosts.toml`, 'utf8');
    expect(written).toMatch(/^server = "http:\/\/localhost:5000"\n/);
    const again = await config('containerd', ...HTTP, archive, '--output', output);
    expect([again.code, again.stderr]).toEqual([
      2,
      `mirror-sync client-config: write ${output}/docker.io/hosts.toml: the file exists; remove it, or choose another --output\n`,
    ]);
    expect(await readFile(`${output}/localhost:5000/hosts.toml`, 'utf8')).toBe(written);
  });

  test('names a file that is in the place of a folder', async () => {
    const output = folder.join('file');
    await writeFile(output, '');
    expect(await config('podman', ...HTTPS, '--output', output)).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(
        new RegExp(`^mirror-sync client-config: write ${output}/\\S+: ${output} is a file\n$`),
      ) as string,
    });
  });

  // Node's recursive mkdir never returns there.
  test.skipIf(!existsSync('/proc/self'))('fails below /proc, where folders cannot be made', async () => {
    for (const output of ['/proc/mirror-sync', '/proc/mirror-sync/config'])
      expect(await config('podman', ...HTTPS, '--output', output)).toMatchObject({
        code: 2,
        stderr: expect.stringContaining('no such file or directory, although its parent exists') as string,
      });
  });

  test.each([
    [[], 'name one client (containerd, docker, podman, k3s)'],
    [['nerdctl', ...HTTPS], 'unknown client "nerdctl" (available: containerd, docker, podman, k3s)'],
    [['docker'], 'name the served archive with --registry URL'],
    ...[
      'mirror.example.com',
      'https://a.example/v2',
      'ftp://a.example',
      'https://u:p@a.example',
      'https://a.example/?x',
    ].map((url) => [['docker', '--registry', url], '--registry must be an address without a path'] as const),
  ] as const)('refuses %j', async (args, message) => {
    const { code, stderr } = await config(...args);
    expect([code, stderr]).toEqual([2, expect.stringContaining(message) as string]);
  });
});
