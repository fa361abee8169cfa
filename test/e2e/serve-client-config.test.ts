/** Real clients with the files that `mirror-sync client-config` writes. */
import { appendFile, mkdtemp, readFile, writeFile } from 'node:fs/promises';
import { hashSync } from 'bcryptjs';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { mirrorSync } from '../kit/command-line.ts';
import { startContainerd } from '../kit/containerd.ts';
import { type Hub, startHub } from '../kit/hub.ts';
import { makeImage, makeLayer } from '../kit/images.ts';
import { describeWith, run } from '../kit/real.ts';
import type { TestRegistry } from '../kit/registry.ts';
import { serving } from '../kit/serving.ts';
import type { TempFolder } from '../kit/temp.ts';

const ARCHIVED = makeImage({ layers: [makeLayer({ seed: 1 })] });
const OTHER = makeImage({ layers: [makeLayer({ seed: 2 })] });
const NAME = 'docker.io/library/app';

/** Docker Hub, for the server. */
let hub: Hub;
let upstream: TestRegistry;
let folder: TempFolder;
let archive: string;
let config: string;

beforeEach(async () => {
  hub = await startHub({ '1.0': ARCHIVED, '2.0': OTHER }, 'all');
  ({ upstream, folder, archive, config } = hub);
  const synced = await mirrorSync(['sync', '--config', config, `${NAME}:1.0`, '--to', archive]);
  expect(synced).toMatchObject({ code: 0 });
  upstream.forgetRequests();
});

afterEach(() => hub[Symbol.asyncDispose]());

/** The folder with the hosts.toml files for the archive at an address. */
async function hostsFor(host: string, ...options: string[]): Promise<string> {
  const output = folder.join('certs.d');
  const args = ['client-config', 'containerd', '--registry', `http://${host}`, '--output', output, ...options];
  expect(await mirrorSync(args)).toMatchObject({ code: 0 });
  return output;
}

describeWith(['containerd', 'ctr'], 'containerd with a hosts.toml', () => {
  test('pulls from the archive, and images that the archive lacks from upstream until they are mirrored', async () => {
    await using served = await serving(archive, ['--config', config]);
    const hosts = await hostsFor(served.host, archive);
    const file = `${hosts}/docker.io/hosts.toml`;
    const text = await readFile(file, 'utf8');
    // A registry on this machine stands in for Docker Hub.
    await writeFile(file, text.replace('https://registry-1.docker.io', `http://${upstream.host}`));
    {
      await using containerd = await startContainerd(folder.join('first'));
      await containerd.pull(`${NAME}:1.0`, hosts);
      expect(await containerd.digestOf(`${NAME}:1.0`)).toBe(ARCHIVED.digest);
      expect(upstream.requests).toEqual([]);
      await containerd.pull(`${NAME}:2.0`, hosts);
      expect(await containerd.digestOf(`${NAME}:2.0`)).toBe(OTHER.digest);
      expect(upstream.count({ kind: 'manifest', tag: '2.0' })).toBeGreaterThan(0);
    }
    const url = `http://${served.host}/v2/${NAME}/manifests/2.0`;
    await expect.poll(async () => (await fetch(url)).status, { timeout: 20_000 }).toBe(200);
    upstream.forgetRequests();
    await using containerd = await startContainerd(folder.join('second'));
    await containerd.pull(`${NAME}:2.0`, hosts);
    expect(await containerd.digestOf(`${NAME}:2.0`)).toBe(OTHER.digest);
    expect(upstream.requests).toEqual([]);
    expect((await served.stop()).stdout).toContain('/v2/library/app/manifests/2.0?ns=docker.io  200');
  });

  test('pulls from the archive only if the file is exclusive', async () => {
    await using served = await serving(archive);
    const hosts = await hostsFor(served.host, '--exclusive');
    await using containerd = await startContainerd(folder.join('only'));
    await containerd.pull(`${NAME}:1.0`, hosts);
    expect(await containerd.digestOf(`${NAME}:1.0`)).toBe(ARCHIVED.digest);
    const error = await containerd.pull(`${NAME}:2.0`, hosts).catch(String);
    expect(error).toContain('not found');
    expect(error).not.toContain('registry-1.docker.io');
  });
});

describeWith(['containerd', 'ctr'], 'containerd with a header in hosts.toml', () => {
  test('logs in with it', async () => {
    const users = folder.join('users');
    await writeFile(users, `ann:${hashSync('secret', 5)}\n`);
    await using served = await serving(archive, ['--htpasswd', users]);
    const hosts = await hostsFor(served.host, '--exclusive');
    await using containerd = await startContainerd(folder.join('login'));
    expect(await containerd.pull(`${NAME}:1.0`, hosts).catch(String)).toContain('401 Unauthorized');
    const header = `Authorization = "Basic ${Buffer.from('ann:secret').toString('base64')}"`;
    await appendFile(`${hosts}/docker.io/hosts.toml`, `\n[host."http://${served.host}".header]\n  ${header}\n`);
    await containerd.pull(`${NAME}:1.0`, hosts);
    expect(await containerd.digestOf(`${NAME}:1.0`)).toBe(ARCHIVED.digest);
  });
});

describeWith(['podman'], 'podman with a file in registries.conf.d', () => {
  /** Pulls with the file of a user, and resolves to the id of the image. */
  async function pull(reference: string, ...options: string[]): Promise<string> {
    await using served = await serving(archive);
    // The address of the server changes with each pull.
    const home = await mkdtemp(`${folder.path}/home-`);
    const drops = `${home}/.config/containers/registries.conf.d`;
    const args = ['client-config', 'podman', '--registry', `http://${served.host}`, '--output', drops, ...options];
    expect(await mirrorSync(args)).toMatchObject({ code: 0 });
    const storage = ['--root', `${home}/root`, '--runroot', `${home}/run`, '--storage-driver', 'vfs'];
    // No network is reached: docker.io would be asked through this proxy.
    const env = { HOME: home, HTTPS_PROXY: 'http://127.0.0.1:1', NO_PROXY: '127.0.0.1' };
    return (await run('podman', [...storage, 'pull', '--quiet', reference], env)).trim();
  }

  test('pulls from the archive', async () => {
    expect(await pull(`${NAME}:1.0`, archive)).toMatch(/^[0-9a-f]{64}$/);
  });

  test('pulls from the archive only if the file is exclusive', async () => {
    expect(await pull(`${NAME}:1.0`, '--exclusive')).toMatch(/^[0-9a-f]{64}$/);
    const error = await pull(`${NAME}:2.0`, '--exclusive').catch(String);
    expect(error).toContain('manifest unknown');
    expect(error).not.toContain('127.0.0.1:1');
  });
});
