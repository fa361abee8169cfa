import type { Digest } from '../../lib/oci/digest.ts';
import type { Platform } from '../../lib/oci/platform.ts';
import { compress, type Compression, type Framing } from './compress.ts';
import { type Content, digestOfContent, randomBytes, sha256 } from './content.ts';
import { tar, type TarEntry } from './tar.ts';

export type Format = 'oci' | 'docker';

/** A descriptor as it appears in a document. */
export interface RawDescriptor {
  readonly mediaType: string;
  readonly digest: Digest;
  /** Bytes. */
  readonly size: number;
  readonly platform?: Readonly<Record<string, unknown>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly urls?: readonly string[];
}

/** A layer in a manifest, independent of the storage of its bytes. */
interface LayerFacts {
  readonly digest: Digest;
  /** Digest of the uncompressed bytes. */
  readonly diffId: Digest;
  /** The media type of OCI; `makeImage` uses Docker's for Docker's format. */
  readonly mediaType: string;
  /** Compressed bytes. */
  readonly size: number;
}

export interface Layer extends LayerFacts {
  readonly blob: Buffer;
}

/** A layer of any size that is not in memory. */
export interface GeneratedLayer extends LayerFacts {
  readonly content: Content;
}

/** Content that can be pushed as a manifest, with all content below it. */
export interface Pushable {
  readonly manifest: Buffer;
  readonly mediaType: string;
  readonly digest: Digest;
  /** How an index refers to it. */
  readonly descriptor: RawDescriptor;
  readonly blobs: ReadonlyMap<Digest, Buffer>;
  readonly generated: ReadonlyMap<Digest, Content>;
  readonly children: readonly Pushable[];
}

export interface Image extends Pushable {
  readonly config: Buffer;
  readonly layers: readonly (Layer | GeneratedLayer)[];
}

const LAYER_TYPES: Record<Format, Record<Compression, string>> = {
  oci: {
    none: 'application/vnd.oci.image.layer.v1.tar',
    gzip: 'application/vnd.oci.image.layer.v1.tar+gzip',
    zstd: 'application/vnd.oci.image.layer.v1.tar+zstd',
  },
  docker: {
    none: 'application/vnd.docker.image.rootfs.diff.tar',
    gzip: 'application/vnd.docker.image.rootfs.diff.tar.gzip',
    zstd: 'application/vnd.docker.image.rootfs.diff.tar.zstd',
  },
};

const TYPES: Record<Format, { manifest: string; index: string; config: string }> = {
  oci: {
    manifest: 'application/vnd.oci.image.manifest.v1+json',
    index: 'application/vnd.oci.image.index.v1+json',
    config: 'application/vnd.oci.image.config.v1+json',
  },
  docker: {
    manifest: 'application/vnd.docker.distribution.manifest.v2+json',
    index: 'application/vnd.docker.distribution.manifest.list.v2+json',
    config: 'application/vnd.docker.container.image.v1+json',
  },
};

const AMD64: Platform = { os: 'linux', architecture: 'amd64' };
const CREATED = '2024-01-02T03:04:05Z';

export interface LayerOptions {
  readonly files?: readonly TarEntry[];
  /** Without `files`: one file with this number of pseudo-random bytes, which do not compress. */
  readonly size?: number;
  /** Distinguishes layers. */
  readonly seed?: number;
  readonly compression?: Compression;
  readonly framing?: Framing;
  readonly level?: number;
}

/** A real tar archive, compressed; the same options give the same bytes. `files: []` is a layer that changes nothing. */
export function makeLayer(options: LayerOptions = {}): Layer {
  const { compression = 'gzip', seed = 1, size = 3000 } = options;
  const files = options.files ?? [{ path: `data/${seed}.bin`, content: randomBytes(size, seed) }];
  const archive = tar(files);
  const blob = compress(archive, compression, options.framing, options.level);
  return layerOf(blob, archive, compression);
}

/** A layer of given bytes; `archive` is the unpacked content. */
export function layerOf(blob: Buffer, archive: Uint8Array, compression: Compression): Layer {
  const mediaType = LAYER_TYPES.oci[compression];
  return { blob, digest: sha256(blob), diffId: sha256(archive), mediaType, size: blob.length };
}

/** A layer whose bytes are generated when they are read; hashes both once. `archive` is the unpacked `content`. */
export async function generatedLayer(
  content: Content,
  archive: Content = content,
  compression: Compression = 'none',
): Promise<GeneratedLayer> {
  const digest = await digestOfContent(content);
  const diffId = archive === content ? digest : await digestOfContent(archive);
  return { content, digest, diffId, mediaType: LAYER_TYPES.oci[compression], size: content.size };
}

/** The empty layer of Docker before 1.10, known by its digest `a3ed95ca…`: 1024 zeros, gzipped by Go. */
export function dockerEmptyLayer(): Layer {
  const blob = Buffer.from('1f8b080000096e8800ff621805a360148c5800080000ffff2eafb5ef00040000', 'hex');
  return layerOf(blob, Buffer.alloc(1024), 'gzip');
}

export interface ImageOptions {
  readonly layers?: readonly (Layer | GeneratedLayer)[];
  readonly platform?: Platform;
  readonly format?: Format;
  /** Wrong values, and other fields of the manifest. */
  readonly overrides?: {
    readonly diffIds?: readonly Digest[];
    readonly descriptors?: (layers: readonly RawDescriptor[]) => readonly RawDescriptor[];
    /** Merged over the config and over the manifest. */
    readonly config?: Record<string, unknown>;
    readonly manifest?: Record<string, unknown>;
  };
}

export function makeImage(options: ImageOptions = {}): Image {
  const { layers = [makeLayer()], platform = AMD64, format = 'oci', overrides = {} } = options;
  const config = encode(format, {
    created: CREATED,
    ...platformFields(platform),
    config: { Cmd: ['/bin/true'] },
    rootfs: { type: 'layers', diff_ids: overrides.diffIds ?? layers.map(({ diffId }) => diffId) },
    history: layers.map((_, index) => ({ created: CREATED, created_by: `layer ${index}` })),
    ...overrides.config,
  });
  const described = layers.map(({ mediaType, digest, size }) => ({
    mediaType: spoken(mediaType, format),
    digest,
    size,
  }));
  const mediaType = TYPES[format].manifest;
  const manifest = encode(format, {
    schemaVersion: 2,
    mediaType,
    config: { mediaType: TYPES[format].config, digest: sha256(config), size: config.length },
    layers: overrides.descriptors?.(described) ?? described,
    ...overrides.manifest,
  });
  return {
    ...pushable(manifest, mediaType, platform),
    config,
    layers,
    blobs: new Map([
      [sha256(config), config],
      ...layers.flatMap((layer) => ('blob' in layer ? [[layer.digest, layer.blob] as const] : [])),
    ]),
    generated: new Map(layers.flatMap((layer) => ('content' in layer ? [[layer.digest, layer.content] as const] : []))),
  };
}

/** An OCI index or a Docker manifest list over images, artifacts and other indexes. */
export function makeIndex(
  children: readonly Pushable[],
  format: Format = 'oci',
  overrides: Record<string, unknown> = {},
): Pushable {
  const mediaType = TYPES[format].index;
  const manifests = children.map(({ descriptor }) => descriptor);
  const manifest = encode(format, { schemaVersion: 2, mediaType, manifests, ...overrides });
  return { ...pushable(manifest, mediaType), children };
}

/** An artifact, as ORAS, cosign and BuildKit store it; with `subject` it refers to that manifest. */
export function makeArtifact(
  options: {
    subject?: Pushable;
    artifactType?: string;
    blobs?: readonly Buffer[];
    /** For an attestation in an index: BuildKit's `vnd.docker.reference.digest`. */
    annotations?: Record<string, string>;
    platform?: Platform;
  } = {},
): Pushable {
  const { artifactType = 'application/vnd.example.thing', blobs = [Buffer.from('a thing')], annotations } = options;
  const empty = Buffer.from('{}');
  const describe = (mediaType: string, bytes: Buffer): RawDescriptor => ({
    mediaType,
    digest: sha256(bytes),
    size: bytes.length,
  });
  const { subject } = options;
  const manifest = encode('oci', {
    schemaVersion: 2,
    mediaType: TYPES.oci.manifest,
    artifactType,
    config: describe('application/vnd.oci.empty.v1+json', empty),
    layers: blobs.map((blob) => describe('application/octet-stream', blob)),
    ...(subject === undefined ? {} : { subject: describe(subject.mediaType, subject.manifest) }),
  });
  const base = pushable(manifest, TYPES.oci.manifest, options.platform);
  return {
    ...base,
    descriptor: annotations === undefined ? base.descriptor : { ...base.descriptor, annotations },
    blobs: new Map([empty, ...blobs].map((blob) => [sha256(blob), blob])),
  };
}

/** A manifest of given bytes, without content below it. */
export function pushable(manifest: Buffer, mediaType: string, platform?: Platform): Pushable {
  const digest = sha256(manifest);
  const descriptor = { mediaType, digest, size: manifest.length };
  return {
    manifest,
    mediaType,
    digest,
    descriptor: platform === undefined ? descriptor : { ...descriptor, platform: platformFields(platform) },
    blobs: new Map(),
    generated: new Map(),
    children: [],
  };
}

/** Docker indents by three spaces, and OCI's tools not at all: a mirror that re-encodes is caught by either. */
function encode(format: Format, value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value, undefined, format === 'docker' ? 3 : undefined));
}

function spoken(mediaType: string, format: Format): string {
  const compression = (Object.keys(LAYER_TYPES.oci) as Compression[]).find(
    (kind) => LAYER_TYPES.oci[kind] === mediaType,
  );
  return compression === undefined ? mediaType : LAYER_TYPES[format][compression];
}

/** The platform as configs and descriptors write it (OCI image spec, image index, "platform"). */
function platformFields(platform: Platform): Record<string, unknown> {
  const { os, architecture, variant, osVersion, osFeatures } = platform;
  return {
    architecture,
    os,
    ...(variant === undefined ? {} : { variant }),
    ...(osVersion === undefined ? {} : { 'os.version': osVersion }),
    ...(osFeatures === undefined ? {} : { 'os.features': osFeatures }),
  };
}
