/**
 * Independent tools that create the images to mirror, and read the result: docker-registry, buildah, skopeo and umoci
 * as Debian packages them. `.ci/run` installs them.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { describe } from 'vitest';
import type { Digest } from '../../lib/oci/digest.ts';
import { ACCEPT_MANIFESTS } from '../../lib/oci/mediatype.ts';
import type { Pushable } from './images.ts';
import { skippedFor } from './skipped.ts';

/** Tests that need these commands on the path. */
export function describeWith(tools: readonly string[], title: string, tests: () => void): void {
  const missing = tools.filter((tool) => !isInstalled(tool));
  if (missing.length === 0) {
    describe(title, tests);
    return;
  }
  describe(title, () => {
    skippedFor(`not installed: ${missing.join(', ')}`);
  });
}

export function isInstalled(tool: string): boolean {
  return (process.env['PATH'] ?? '').split(delimiter).some((folder) => existsSync(join(folder, tool)));
}

/** The output of a command. @throws Error with its error output if it fails */
export async function run(command: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<string> {
  const child = spawn(command, args, { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')]);
  if (child.exitCode !== 0)
    throw new Error(`${command} ${args.join(' ')} ended with ${String(child.exitCode)}:\n${stderr}`);
  return stdout;
}

export interface Distribution extends AsyncDisposable {
  /** `127.0.0.1:PORT` */
  readonly host: string;
}

/** The distribution registry on loopback, with its storage in the folder. */
export async function startDistribution(folder: string): Promise<Distribution> {
  const config = {
    version: 0.1,
    log: { level: 'info', formatter: 'json', accesslog: { disabled: true } },
    storage: { filesystem: { rootdirectory: join(folder, 'storage') } },
    http: { addr: '127.0.0.1:0', secret: 'for uploads' },
  };
  await mkdir(folder, { recursive: true });
  // JSON is YAML.
  await writeFile(join(folder, 'config.yml'), JSON.stringify(config));
  const child = spawn('docker-registry', ['serve', join(folder, 'config.yml')], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const closed = once(child, 'close');
  const said: string[] = [];
  const lines = createInterface(child.stderr);
  const host = await new Promise<string>((resolve, reject) => {
    lines.on('line', (line) => {
      said.push(line);
      const [, address] = /listening on ([\d.:]+)/.exec(line) ?? [];
      if (address !== undefined) resolve(address);
    });
    closed.then(
      () => {
        reject(new Error(`docker-registry ended:\n${said.join('\n')}`));
      },
      (error: unknown) => {
        reject(error);
      },
    );
  });
  return {
    host,
    [Symbol.asyncDispose]: async () => {
      child.kill();
      await closed;
    },
  };
}

/** Pushes an image as the distribution spec has it: every blob in one piece, then the manifest. */
export async function pushTo(host: string, repository: string, image: Pushable, tag: string): Promise<Digest> {
  const base = `http://${host}/v2/${repository}`;
  const request = async (method: string, url: string, type: string, body: Buffer | null): Promise<Response> => {
    const response = await fetch(url, { method, headers: { 'content-type': type }, body });
    if (!response.ok) throw new Error(`${method} ${url}: ${response.status} ${await response.text()}`);
    return response;
  };
  for (const [digest, blob] of image.blobs) {
    const { headers } = await request('POST', `${base}/blobs/uploads/`, 'application/octet-stream', null);
    const upload = new URL(headers.get('location') ?? '', base);
    upload.searchParams.set('digest', digest);
    await request('PUT', upload.href, 'application/octet-stream', blob);
  }
  await request('PUT', `${base}/manifests/${tag}`, image.mediaType, image.manifest);
  return image.digest;
}

/** A manifest as a registry serves it, with the digest in its header. */
export interface Served {
  readonly digest: string;
  readonly mediaType: string;
  readonly bytes: Buffer;
}

/** @param name `repository:tag` or `repository@digest` */
export async function served(host: string, name: string): Promise<Served> {
  const [, repository, reference] = /^(.+?)[:@](.+)$/.exec(name) ?? [];
  const url = `http://${host}/v2/${repository ?? ''}/manifests/${reference ?? ''}`;
  const headers = { accept: ACCEPT_MANIFESTS };
  const head = await fetch(url, { method: 'HEAD', headers });
  const response = await fetch(url, { headers });
  if (!response.ok) throw new Error(`GET ${url}: ${response.status} ${await response.text()}`);
  return {
    digest: head.headers.get('docker-content-digest') ?? '',
    mediaType: response.headers.get('content-type') ?? '',
    bytes: Buffer.from(await response.arrayBuffer()),
  };
}

export interface Built {
  /** Name in buildah's store. */
  readonly name: string;
}

export type Format = 'oci' | 'v2s2';

/** buildah with its own store in the folder. */
export class Buildah {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** An image with the tree as its top layer, from scratch or from another image. */
  async build(name: string, tree: string, { from = 'scratch', arch = 'amd64' } = {}): Promise<Built> {
    const container = await this.#run('from', '--arch', arch, '--pull=never', from);
    await this.#run('copy', '--quiet', container, tree, '/');
    await this.#run('config', '--arch', arch, container);
    await this.#run('commit', '--quiet', '--rm', container, name);
    return { name };
  }

  /** @param to any transport of containers/image: `docker://…`, `dir:…` */
  async push({ name }: Built, to: string, format: Format, ...options: string[]): Promise<void> {
    await this.#run('push', '--quiet', '--tls-verify=false', '--format', format, ...options, name, to);
  }

  /** A manifest list (`v2s2`) or an index (`oci`) of these. */
  async pushList(name: string, images: readonly Built[], to: string, format: Format): Promise<void> {
    await this.#run('manifest', 'create', name);
    for (const image of images) await this.#run('manifest', 'add', name, `localhost/${image.name}`);
    await this.#run('manifest', 'push', '--quiet', '--all', '--tls-verify=false', '--format', format, name, to);
  }

  async #run(...args: string[]): Promise<string> {
    // vfs and chroot need no kernel features that a container lacks.
    const [root, runroot] = [join(this.#folder, 'root'), join(this.#folder, 'runroot')];
    const store = ['--storage-driver', 'vfs', '--root', root, '--runroot', runroot];
    return (await run('buildah', [...store, ...args], { BUILDAH_ISOLATION: 'chroot' })).trim();
  }
}
