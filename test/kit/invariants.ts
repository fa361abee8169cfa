/** The invariants of an archive, read from its store and checked without the code that wrote it. */
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { gunzipSync, zstdDecompressSync } from 'node:zlib';
import type { ObjectStore } from '../../lib/store/store.ts';

interface RawDescriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
  readonly annotations?: Readonly<Record<string, string>>;
}

interface RawManifest {
  readonly config?: RawDescriptor;
  readonly layers?: readonly RawDescriptor[];
  readonly manifests?: readonly RawDescriptor[];
}

interface RawReceipt {
  readonly digest: string;
  readonly size: number;
  readonly diffIds: Readonly<Record<string, string>>;
  /** Missing if the blob is opaque. */
  readonly compression?: 'gzip' | 'zstd' | 'none';
}

export interface Findings {
  /** The violated invariants; empty if all hold. */
  readonly violations: readonly string[];
  /** Digest by tag: `host/path:tag`. */
  readonly tags: ReadonlyMap<string, string>;
  /** All digests that the tag indexes name, with a tag or without. */
  readonly named: ReadonlySet<string>;
  /** Digests of blobs that have a receipt. */
  readonly proven: ReadonlySet<string>;
}

/** The objects of an archive. */
interface Objects {
  /** Keys that start with `prefix`. */
  below(prefix: string): Iterable<string>;
  read(key: string): Buffer | undefined;
}

/** Inspects a folder archive on the disk. */
export function inspect(root: string): Findings {
  return inspectObjects({
    below: (prefix) => filesBelow(join(root, prefix)).map((file) => relative(root, file)),
    read: (key) => (existsSync(join(root, key)) ? readFileSync(join(root, key)) : undefined),
  });
}

/** Inspects an archive in any other store, which has to be small: all of it is read into memory. */
export async function inspectStore(store: ObjectStore): Promise<Findings> {
  const objects = new Map<string, Buffer>();
  for await (const { key, size } of store.list('')) {
    const found = await store.get(key, { maxBytes: size });
    if (found !== undefined) objects.set(key, Buffer.from(found.bytes));
  }
  return inspectObjects({
    below: (prefix) => [...objects.keys()].filter((key) => key.startsWith(`${prefix}/`)),
    read: (key) => objects.get(key),
  });
}

function inspectObjects(archive: Objects): Findings {
  const violations: string[] = [];
  const tags = new Map<string, string>();
  const named = new Set<string>();
  const proven = new Set<string>();
  const complain = (what: string): void => {
    violations.push(what);
  };

  // Invariant 2: a receipt is true, and its bytes exist.
  for (const key of archive.below('.mirror/receipts')) {
    const receipt = JSON.parse(String(archive.read(key))) as RawReceipt;
    const bytes = blob(archive, receipt.digest);
    if (bytes === undefined) {
      complain(`receipt of ${receipt.digest}, which is not there`);
      continue;
    }
    if (sha256(bytes) !== receipt.digest) complain(`receipt of ${receipt.digest}, whose bytes are others`);
    if (bytes.length !== receipt.size) complain(`receipt of ${receipt.digest} with the wrong size`);
    for (const [algorithm, diffId] of Object.entries(receipt.diffIds))
      if (`${algorithm}:${createHash(algorithm).update(unpacked(bytes, receipt.compression)).digest('hex')}` !== diffId)
        complain(`wrong diffID for ${receipt.digest}`);
    proven.add(receipt.digest);
  }

  // Invariants 1, 3 and 4: everything below an entry of a tag index exists, down to the last layer, with upstream's
  // bytes.
  const reach = (descriptor: RawDescriptor, from: string): void => {
    const bytes = blob(archive, descriptor.digest);
    if (bytes === undefined) {
      complain(`${from} names ${descriptor.digest}, which is not there`);
      return;
    }
    if (sha256(bytes) !== descriptor.digest) complain(`${from}: the bytes of ${descriptor.digest} are others`);
    if (bytes.length !== descriptor.size) complain(`${from}: ${descriptor.digest} has another size`);
    if (!/manifest|index/.test(descriptor.mediaType)) return;
    const { config, layers = [], manifests = [] } = JSON.parse(bytes.toString('utf8')) as RawManifest;
    for (const child of [...manifests, ...layers, ...(config === undefined ? [] : [config])])
      reach(child, `${from} > ${descriptor.digest.slice(0, 19)}`);
    for (const layer of layers)
      if (!layer.mediaType.includes('json') && !proven.has(layer.digest))
        complain(`${from}: layer ${layer.digest} is reachable without a receipt`);
  };
  for (const key of archive.below('repositories')) {
    if (!key.endsWith('/index.json')) continue;
    const repository = key.slice('repositories/'.length, -'/index.json'.length);
    if (archive.read(`repositories/${repository}/oci-layout`) === undefined)
      complain(`${repository} has no oci-layout file`);
    const { manifests } = JSON.parse(String(archive.read(key))) as { manifests: RawDescriptor[] };
    for (const descriptor of manifests) {
      const tag = descriptor.annotations?.['org.opencontainers.image.ref.name'];
      named.add(descriptor.digest);
      if (tag !== undefined) {
        const reference = `${repository.replace('_', ':')}:${tag}`;
        if (tags.has(reference)) complain(`${reference} is there twice`);
        tags.set(reference, descriptor.digest);
      }
      reach(descriptor, `${repository}:${tag ?? '(no tag)'}`);
    }
  }
  return { violations, tags, named, proven };
}

/**
 * Bytes of unfinished uploads. (A process that is killed while it completes an upload leaves a note behind, which is
 * removed after a day.)
 */
export function unfinishedUploads(root: string): string[] {
  return filesBelow(join(root, '.mirror/uploads')).filter((file) => file.endsWith('/data'));
}

function blob(archive: Objects, digest: string): Buffer | undefined {
  return archive.read(`blobs/${digest.replace(':', '/')}`);
}

function filesBelow(folder: string): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}

function unpacked(bytes: Buffer, compression: RawReceipt['compression']): Buffer {
  if (compression === 'gzip') return gunzipSync(bytes);
  return compression === 'zstd' ? zstdDecompressSync(bytes) : bytes;
}

function sha256(bytes: Uint8Array): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}
