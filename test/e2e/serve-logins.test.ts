/** Real clients log in to `mirror-sync serve --htpasswd`. */
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { hashSync } from 'bcryptjs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { mirrorSync } from '../kit/command-line.ts';
import { makeImage, makeLayer } from '../kit/images.ts';
import { describeWith, run } from '../kit/real.ts';
import { type Mirrored, mirrorImages, serving } from '../kit/serving.ts';

const IMAGE = makeImage({ layers: [makeLayer({ seed: 1 })] });
const ANN = `ann:${hashSync('s:crét', 5).replace('$2b', '$2y')}\n`;
const BOB = `bob:${hashSync('other', 5)}\n`;

let mirrored: Mirrored;
let users: string;

beforeAll(async () => {
  mirrored = await mirrorImages(new Map([['1.0', IMAGE]]));
  users = mirrored.folder.join('users');
  await writeFile(users, ANN + BOB);
});

afterAll(async () => {
  await mirrored[Symbol.asyncDispose]();
});

const login = (text: string): { authorization: string } => ({
  authorization: `Basic ${Buffer.from(text).toString('base64')}`,
});

describe('mirror-sync serve --htpasswd', () => {
  test('names the user of each response, and refuses a user who is removed while it runs', async () => {
    const file = mirrored.folder.join('changing');
    await writeFile(file, ANN + BOB);
    await using served = await serving(mirrored.archive, ['--htpasswd', file, '--json']);
    const status = async (path: string, headers = {}): Promise<number> =>
      (await fetch(`http://${served.host}${path}`, { headers })).status;
    const path = `/v2/${mirrored.name}/manifests/1.0`;
    expect(await status(path)).toBe(401);
    expect(await status(path, login('ann:wrong'))).toBe(401);
    expect(await status(path, login('ann:s:crét'))).toBe(200);
    expect(await status('/metrics')).toBe(401);
    expect(await status('/healthz')).toBe(200);
    const metrics = await (await fetch(`http://${served.host}/metrics`, { headers: login('bob:other') })).text();
    expect(metrics).toContain('mirror_sync_serve_requests_total{kind="tag",status="200"} 1\n');
    expect(metrics).toContain('mirror_sync_serve_requests_total{kind="other",status="401"} 3\n');
    await writeFile(file, BOB);
    await expect.poll(() => status(path, login('ann:s:crét')), { timeout: 10_000 }).toBe(401);
    expect(await status(path, login('bob:other'))).toBe(200);
    const { stdout, stderr } = await served.stop();
    expect(stdout).toContain(`"user":"ann","method":"GET","target":"${path}","kind":"tag","status":200`);
    expect(stderr).not.toContain('plain text');
  });

  test('warns about passwords in plain text on a network', async () => {
    const args = ['--htpasswd', users, '--listen', '0.0.0.0:0'];
    await using served = await serving(mirrored.archive, args);
    expect((await served.stop()).stderr).toContain('warning: passwords cross the network in plain text');
  });

  test('reports a file that cannot be used', async () => {
    const none = mirrored.folder.join('none');
    expect(await mirrorSync(['serve', mirrored.archive, '--htpasswd', none])).toMatchObject({
      code: 2,
      stderr: `mirror-sync serve: read logins ${none}: no such file or directory\n`,
    });
  });
});

/** Runs with the credentials of a login, and resolves to the output or the error. */
async function attempt(command: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<string> {
  return await run(command, args, env).catch(String);
}

describeWith(['skopeo'], 'skopeo with --creds', () => {
  test('pulls with valid credentials, and not with wrong ones', async () => {
    await using served = await serving(mirrored.archive, ['--htpasswd', users]);
    const digest = (...creds: string[]): Promise<string> =>
      attempt('skopeo', [
        'inspect',
        '--tls-verify=false',
        '--format={{.Digest}}',
        ...creds,
        `docker://${served.host}/${mirrored.name}:1.0`,
      ]);
    expect((await digest('--creds', 'ann:s:crét')).trim()).toBe(IMAGE.digest);
    expect(await digest('--creds', 'ann:wrong')).toContain('unauthorized');
    expect(await digest('--no-creds')).toContain('unauthorized');
    const layout = mirrored.folder.join('skopeo');
    const name = `${served.host}/${mirrored.name}:1.0`;
    await run('skopeo', [
      'copy',
      '--src-tls-verify=false',
      '--src-creds',
      'ann:s:crét',
      `docker://${name}`,
      `oci:${layout}`,
    ]);
  });
});

describeWith(['crane'], 'crane auth login', () => {
  test('stores credentials that pull, until the user is removed', async () => {
    const file = mirrored.folder.join('for-crane');
    await writeFile(file, ANN + BOB);
    await using served = await serving(mirrored.archive, ['--htpasswd', file]);
    const env = { DOCKER_CONFIG: mirrored.folder.join('docker') };
    const digest = (): Promise<string> =>
      attempt('crane', ['digest', '--insecure', `${served.host}/${mirrored.name}:1.0`], env);
    expect(await digest()).toContain('UNAUTHORIZED');
    await run('crane', ['auth', 'login', '--insecure', '-u', 'ann', '-p', 's:crét', served.host], env);
    expect((await digest()).trim()).toBe(IMAGE.digest);
    await rm(file);
    await writeFile(file, BOB);
    await expect.poll(digest, { timeout: 10_000 }).toContain('UNAUTHORIZED');
  });
});

describeWith(['podman'], 'podman login', () => {
  test('checks the credentials, and pulls with them', async () => {
    await using served = await serving(mirrored.archive, ['--htpasswd', users]);
    const root = mirrored.folder.join('podman');
    await mkdir(root, { recursive: true });
    const storage = ['--root', `${root}/root`, '--runroot', `${root}/run`, '--storage-driver', 'vfs'];
    const env = { REGISTRY_AUTH_FILE: `${root}/auth.json` };
    const podman = (command: string, ...args: string[]): Promise<string> =>
      attempt('podman', [...storage, command, '--tls-verify=false', ...args], env);
    expect(await podman('login', '-u', 'ann', '-p', 'wrong', served.host)).toContain('invalid username/password');
    expect(await podman('login', '-u', 'ann', '-p', 's:crét', served.host)).toContain('Login Succeeded');
    const id = await podman('pull', '--quiet', `${served.host}/${mirrored.name}:1.0`);
    expect(id.trim()).toMatch(/^[0-9a-f]{64}$/);
  });
});
