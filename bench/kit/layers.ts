/** Layers with realistic content: files of this machine in a tar archive, compressed by gzip -6 into one member. */
import { createHash, type Hash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { toDigest } from '../../lib/oci/digest.ts';
import type { Content } from '../../test/kit/content.ts';
import { type GeneratedLayer, layerOf } from '../../test/kit/images.ts';
import { tar } from '../../test/kit/tar.ts';

export interface RealLayer extends GeneratedLayer {
  /** The path of the compressed bytes. */
  readonly path: string;
  /** Uncompressed bytes. */
  readonly unpacked: number;
}

export interface LayerPlan {
  readonly name: string;
  /** The approximate uncompressed size in millions of bytes. */
  readonly megabytes: number;
}

/** Programs, libraries, sources and documents, which distributions put into images. */
const ROOTS = ['/usr/bin', '/usr/lib', '/usr/local', '/usr/share', dirname(dirname(process.execPath))];
const LARGEST_FILE = 32e6;
/** The version of this procedure; a cached layer of another version is not used. */
const VERSION = 1;

interface Source {
  readonly path: string;
  /** The sort key of a file: a pseudo-random order that is the same each time. */
  readonly rank: string;
}

/** Compressing takes a minute for a gigabyte, so layers are kept for later runs in $BENCH_CACHE, or below the system's temporary folder. */
export async function realLayers(plans: readonly LayerPlan[]): Promise<RealLayer[]> {
  const cache = process.env['BENCH_CACHE'] ?? join(tmpdir(), 'mirror-sync-bench');
  await mkdir(cache, { recursive: true });
  let sources: Promise<Source[]> | undefined;
  const layers: RealLayer[] = [];
  for (const plan of plans) {
    const path = join(cache, `v${VERSION}-${plan.name}-${plan.megabytes}.tar.gz`);
    const facts = await kept(path);
    layers.push(facts ?? (await makeRealLayer(plan, path, await (sources ??= findSources()))));
  }
  return layers;
}

type Facts = Pick<RealLayer, 'digest' | 'diffId' | 'mediaType' | 'size' | 'unpacked'>;

async function kept(path: string): Promise<RealLayer | undefined> {
  const text = await readFile(`${path}.json`, 'utf8').catch(() => undefined);
  if (text === undefined) return undefined;
  const facts = JSON.parse(text) as Facts;
  const there = await stat(path).catch(() => undefined);
  return there?.size === facts.size ? { ...facts, path, content: fileContent(path, facts.size) } : undefined;
}

async function makeRealLayer(plan: LayerPlan, path: string, sources: readonly Source[]): Promise<RealLayer> {
  process.stderr.write(`compressing the layer ${plan.name} (${plan.megabytes} MB), kept as ${path}\n`);
  const temporary = `${path}.${process.pid}`;
  const unpacked = new Tap();
  const packed = new Tap();
  try {
    await pipeline(
      Readable.from(archive(plan, sources)),
      (chunks: AsyncIterable<Buffer>) => unpacked.through(chunks),
      createGzip({ level: 6 }),
      (chunks: AsyncIterable<Buffer>) => packed.through(chunks),
      createWriteStream(temporary),
    );
    const { mediaType } = layerOf(Buffer.alloc(0), Buffer.alloc(0), 'gzip');
    const facts: Facts = {
      digest: toDigest('sha256', packed.hash.digest('hex')),
      diffId: toDigest('sha256', unpacked.hash.digest('hex')),
      mediaType,
      size: packed.bytes,
      unpacked: unpacked.bytes,
    };
    await rename(temporary, path);
    await writeFile(`${path}.json`, JSON.stringify(facts));
    return { ...facts, path, content: fileContent(path, facts.size) };
  } finally {
    await rm(temporary, { force: true });
  }
}

class Tap {
  readonly hash: Hash = createHash('sha256');
  bytes = 0;

  async *through(chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    for await (const chunk of chunks) {
      this.hash.update(chunk);
      this.bytes += chunk.length;
      yield chunk;
    }
  }
}

/** Each layer begins at another file, and starts over at the first one if the machine has too few. */
async function* archive({ name, megabytes }: LayerPlan, sources: readonly Source[]): AsyncGenerator<Buffer> {
  const end = tar([]);
  const first = Number.parseInt(rankOf(name).slice(0, 12), 16) % sources.length;
  let bytes = 0;
  for (let turn = 0; bytes < megabytes * 0.99e6; turn += 1) {
    const source = sources[(first + turn) % sources.length];
    if (source === undefined) throw new Error(`no file of ${ROOTS.join(', ')} can be read, so layers have no content`);
    const content = await readFile(source.path).catch(() => undefined);
    // A file that is much larger than the remaining size is left for another layer.
    if (content === undefined || bytes + content.length > megabytes * 1.02e6) continue;
    const entry = tar([{ path: `${name}/${turn}${source.path}`, content }]);
    bytes += content.length;
    yield entry.subarray(0, -end.length);
  }
  yield end;
}

async function findSources(): Promise<Source[]> {
  const found = new Map<string, Source>();
  for (const root of ROOTS) {
    const entries = await readdir(root, { recursive: true, withFileTypes: true }).catch(() => []);
    for (const entry of entries) {
      const path = join(entry.parentPath, entry.name);
      if (entry.isFile() && !found.has(path)) found.set(path, { path, rank: rankOf(path) });
    }
  }
  const sources = [...found.values()].sort((a, b) => (a.rank < b.rank ? -1 : 1));
  const sizes = await Promise.all(
    sources.map(({ path }) =>
      stat(path).then(
        ({ size }) => size,
        () => 0,
      ),
    ),
  );
  return sources.filter((_, index) => {
    const size = sizes[index] ?? 0;
    return size > 0 && size <= LARGEST_FILE;
  });
}

function rankOf(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

function fileContent(path: string, size: number): Content {
  return {
    size,
    read: (start, end) =>
      createReadStream(path, { start, end: end - 1, highWaterMark: 256 * 1024 }) as AsyncIterable<Buffer>,
  };
}
