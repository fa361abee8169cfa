/** containerd with its own root, state and socket, for tests that run as root. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { run } from './real.ts';

export interface Containerd extends AsyncDisposable {
  /** Pulls an image with the hosts.toml files of a folder. @throws Error with the output of ctr */
  pull(reference: string, hostsFolder: string): Promise<void>;
  /** Reads the whole content of an image, for all platforms, and unpacks nothing. @throws Error with the output of ctr */
  fetch(reference: string, hostsFolder: string): Promise<void>;
  /** The digest of a pulled image; undefined for an image that was not pulled. */
  digestOf(reference: string): Promise<string | undefined>;
}

/** It needs neither a kernel's overlay file system, nor the plugin for Kubernetes. */
const DISABLED = ['io.containerd.grpc.v1.cri', 'io.containerd.snapshotter.v1.devmapper'];

export async function startContainerd(folder: string): Promise<Containerd> {
  await mkdir(folder, { recursive: true });
  const socket = join(folder, 'containerd.sock');
  const config = [
    'version = 2',
    `root = ${JSON.stringify(join(folder, 'root'))}`,
    `state = ${JSON.stringify(join(folder, 'state'))}`,
    `disabled_plugins = ${JSON.stringify(DISABLED)}`,
    `grpc = { address = ${JSON.stringify(socket)} }`,
    `ttrpc = { address = ${JSON.stringify(`${socket}.ttrpc`)} }`,
  ];
  await writeFile(join(folder, 'config.toml'), `${config.join('\n')}\n`);
  const child = spawn('containerd', ['--config', join(folder, 'config.toml')], { stdio: ['ignore', 'ignore', 'pipe'] });
  const closed = once(child, 'close');
  const said: string[] = [];
  await new Promise<void>((resolve, reject) => {
    createInterface(child.stderr).on('line', (line) => {
      said.push(line);
      if (line.includes('containerd successfully booted')) resolve();
    });
    closed.then(() => {
      reject(new Error(`containerd ended:\n${said.join('\n')}`));
    }, reject);
  });
  const ctr = (...args: string[]): Promise<string> => run('ctr', ['--address', socket, ...args]);
  return {
    async pull(reference, hostsFolder) {
      await ctr('images', 'pull', '--hosts-dir', hostsFolder, '--snapshotter', 'native', reference);
    },
    async fetch(reference, hostsFolder) {
      await ctr('content', 'fetch', '--all-platforms', '--hosts-dir', hostsFolder, reference);
    },
    async digestOf(reference) {
      const line = (await ctr('images', 'ls')).split('\n').find((each) => each.startsWith(`${reference} `));
      return line?.split(/\s+/)[2];
    },
    [Symbol.asyncDispose]: async () => {
      child.kill();
      await closed;
    },
  };
}
