/** Clients of a registry on loopback: many at once, slow ones, and ones that disconnect. */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readdir, readFile, readlink } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import type { Readable } from 'node:stream';

interface Manifest {
  readonly config: { readonly digest: string };
  readonly layers: readonly { readonly digest: string }[];
}

/** Pulls an image once per client, all at the same time. Throws for an error or a wrong byte. Resolves to the bytes of all. */
export async function pullByMany(clients: number, host: string, name: string, tag: string): Promise<number> {
  const sizes = await Promise.all(Array.from({ length: clients }, () => pullImage(`http://${host}/v2/${name}`, tag)));
  return sizes.reduce((sum, size) => sum + size, 0);
}

async function pullImage(base: string, tag: string): Promise<number> {
  const response = await fetch(`${base}/manifests/${tag}`);
  if (!response.ok) throw new Error(`GET ${tag}: ${response.status}`);
  const bytes = Buffer.from(await response.arrayBuffer());
  const { config, layers } = JSON.parse(bytes.toString()) as Manifest;
  let sum = bytes.length;
  for (const { digest } of [config, ...layers]) sum += await pullBlob(`${base}/blobs/${digest}`, digest);
  return sum;
}

async function pullBlob(url: string, digest: string): Promise<number> {
  const response = await fetch(url);
  const hash = createHash('sha256');
  let size = 0;
  for await (const chunk of response.body as AsyncIterable<Uint8Array>) {
    hash.update(chunk);
    size += chunk.length;
  }
  const actual = `sha256:${hash.digest('hex')}`;
  if (response.status !== 200 || actual !== digest) throw new Error(`GET ${url}: ${response.status}, ${actual}`);
  return size;
}

/** Requests a blob, and reads only its first bytes. The connection stays open. */
export async function readStart(host: string, path: string): Promise<Socket> {
  const [address = '', port] = host.split(':');
  const socket = connect(Number(port), address);
  socket.write(`GET ${path} HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
  const [first] = (await once(socket as Readable, 'data')) as [Buffer];
  socket.pause();
  if (!first.toString('latin1').startsWith('HTTP/1.1 200')) throw new Error(first.toString('latin1').slice(0, 500));
  return socket;
}

/** The largest resident memory that a process has had, in bytes. Linux only. */
export async function peakOf(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024;
}

/** The open files of a process below a folder. Linux only. */
export async function openFilesBelow(pid: number, folder: string): Promise<readonly string[]> {
  const descriptors = await readdir(`/proc/${pid}/fd`);
  // A descriptor may be closed while the list is read.
  const targets = await Promise.all(descriptors.map((fd) => readlink(`/proc/${pid}/fd/${fd}`).catch(() => '')));
  return targets.filter((target) => target.startsWith(folder));
}
