/** One image of every kind that real registries have and other tools copy. A mirror must accept all of them. */
import { createHash } from 'node:crypto';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import type { Digest } from '../../lib/oci/digest.ts';
import { randomBytes, sha256 } from './content.ts';
import { dockerEmptyLayer, makeArtifact, makeImage, makeIndex, makeLayer, type Pushable, pushable } from './images.ts';
import { tar } from './tar.ts';

export interface Kind {
  readonly name: string;
  readonly image: Pushable;
}

const OCI_MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
const OCI_CONFIG = 'application/vnd.oci.image.config.v1+json';
const OCI_LAYER = 'application/vnd.oci.image.layer.v1.tar';
const DOCKER_MANIFEST = 'application/vnd.docker.distribution.manifest.v2+json';
const DOCKER_LAYER = 'application/vnd.docker.image.rootfs.diff.tar';

interface RawLayer {
  readonly type: string;
  readonly bytes: Buffer;
  /** The claim of the config, if it makes one. */
  readonly diffId?: string;
  readonly algorithm?: 'sha256' | 'sha512';
  readonly more?: object;
}

interface RawImage {
  readonly layers: readonly RawLayer[];
  readonly manifestType?: string;
  readonly configType?: string;
  /** The config's bytes; by default an image config that claims the layers' diffIDs. */
  readonly config?: Buffer;
  readonly algorithm?: 'sha256' | 'sha512';
  readonly manifest?: object;
}

let seeds = 1000;

/** A tar archive that no other image has. */
function archive(): Buffer {
  seeds += 1;
  return tar([{ path: `file-${seeds}`, content: randomBytes(500, seeds) }]);
}

function digest(bytes: Uint8Array, algorithm: 'sha256' | 'sha512' = 'sha256'): Digest {
  return `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}` as Digest;
}

function raw({ layers, manifestType = OCI_MANIFEST, configType = OCI_CONFIG, algorithm, ...rest }: RawImage): Pushable {
  const claims = { type: 'layers', diff_ids: layers.map(({ diffId }) => diffId) };
  const image = { architecture: 'amd64', os: 'linux', rootfs: claims };
  const config = rest.config ?? Buffer.from(JSON.stringify(image));
  const described = layers.map(({ type, bytes, more, algorithm: own = 'sha256' }) => ({
    mediaType: type,
    digest: digest(bytes, own),
    size: bytes.length,
    ...more,
  }));
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: manifestType,
      config: { mediaType: configType, digest: digest(config, algorithm), size: config.length },
      layers: described,
      ...rest.manifest,
    }),
  );
  return {
    ...pushable(manifest, manifestType),
    blobs: new Map([
      [digest(config, algorithm), config],
      ...layers.map(({ bytes, algorithm: own = 'sha256' }) => [digest(bytes, own), bytes] as const),
    ]),
  };
}

const EMPTY = Buffer.alloc(0);

function declared(type: string, pack: (bytes: Buffer) => Buffer): Pushable {
  const bytes = archive();
  return raw({ layers: [{ type, bytes: pack(bytes), diffId: sha256(bytes) }] });
}

const asIs = (bytes: Buffer): Buffer => bytes;
const zstd = (bytes: Buffer): Buffer => zstdCompressSync(bytes);
const gzip = (bytes: Buffer): Buffer => gzipSync(bytes);

function unclaimed(config: Buffer, layers?: readonly RawLayer[]): Pushable {
  return raw({ config, layers: layers ?? [{ type: `${OCI_LAYER}+gzip`, bytes: gzip(archive()) }] });
}

function opaque(type: string, content: Buffer): Pushable {
  return raw({ layers: [{ type, bytes: content, diffId: sha256(content) }] });
}

function sha512Image(): Pushable {
  const [one, two] = [archive(), archive()];
  return raw({
    algorithm: 'sha512',
    layers: [
      { type: `${OCI_LAYER}+gzip`, bytes: gzip(one), diffId: digest(one, 'sha512'), algorithm: 'sha512' },
      { type: OCI_LAYER, bytes: two, diffId: digest(two, 'sha512'), algorithm: 'sha512' },
    ],
  });
}

function artifact(type: string, content: Buffer, config: Buffer = Buffer.from('{}')): Pushable {
  return raw({ configType: 'application/vnd.example.config.v1+json', config, layers: [{ type, bytes: content }] });
}

function windows(): Pushable {
  const child = (osVersion: string, osFeatures?: readonly string[]): Pushable =>
    makeImage({
      layers: [makeLayer({ seed: (seeds += 1) })],
      platform: {
        os: 'windows',
        architecture: 'amd64',
        osVersion,
        ...(osFeatures === undefined ? {} : { osFeatures }),
      },
      format: 'docker',
    });
  return makeIndex([child('10.0.20348.1'), child('10.0.17763.3770', ['win32k'])], 'docker');
}

function attested(): Pushable {
  const image = makeImage({ layers: [makeLayer({ seed: (seeds += 1) })] });
  const annotations = {
    'vnd.docker.reference.type': 'attestation-manifest',
    'vnd.docker.reference.digest': image.digest,
  };
  return makeIndex([
    image,
    makeArtifact({
      annotations,
      platform: { os: 'unknown', architecture: 'unknown' },
      blobs: [randomBytes(50, seeds)],
    }),
  ]);
}

const repeated = makeLayer({ seed: 42 });

export const KINDS: readonly Kind[] = [
  { name: 'an OCI image', image: makeImage() },
  { name: 'a Docker image', image: makeImage({ format: 'docker', layers: [makeLayer({ seed: 2 })] }) },
  {
    name: 'a Docker list of OCI images',
    image: makeIndex([makeImage({ layers: [makeLayer({ seed: 3 })] })], 'docker'),
  },
  { name: 'an index of an index', image: makeIndex([makeIndex([makeImage({ layers: [makeLayer({ seed: 4 })] })])]) },
  { name: 'an image with an attestation', image: attested() },
  { name: 'Windows images with os.features', image: windows() },
  { name: "Docker's empty layer", image: makeImage({ layers: [dockerEmptyLayer(), makeLayer({ seed: 5 })] }) },
  { name: 'a layer twice', image: makeImage({ layers: [repeated, makeLayer({ seed: 6 }), repeated] }) },
  {
    name: 'zstd in a Docker manifest',
    image: makeImage({ format: 'docker', layers: [makeLayer({ compression: 'zstd' })] }),
  },
  {
    name: 'a gzip layer of several members',
    image: declared(`${OCI_LAYER}+gzip`, (all) => Buffer.concat([gzip(all.subarray(0, 700)), gzip(all.subarray(700))])),
  },
  {
    name: 'a zstd layer with a skippable frame',
    image: declared(`${OCI_LAYER}+zstd`, (all) =>
      Buffer.concat([zstd(all), Buffer.from('502a4d180400000001020304', 'hex')]),
    ),
  },
  { name: 'plain tar declared as gzip', image: declared(`${DOCKER_LAYER}.gzip`, asIs) },
  { name: 'plain tar declared as zstd', image: declared(`${OCI_LAYER}+zstd`, asIs) },
  { name: 'gzip declared as tar', image: declared(OCI_LAYER, gzip) },
  { name: 'gzip declared as zstd', image: declared(`${OCI_LAYER}+zstd`, gzip) },
  { name: 'zstd declared as gzip', image: declared(`${OCI_LAYER}+gzip`, zstd) },
  { name: 'zstd declared as tar', image: declared(DOCKER_LAYER, zstd) },
  {
    name: 'a zero-byte layer declared as gzip',
    image: raw({
      manifestType: DOCKER_MANIFEST,
      configType: 'application/vnd.docker.container.image.v1+json',
      layers: [{ type: `${DOCKER_LAYER}.gzip`, bytes: EMPTY, diffId: sha256(EMPTY) }],
    }),
  },
  {
    name: 'a zero-byte layer declared as zstd',
    image: raw({ layers: [{ type: `${OCI_LAYER}+zstd`, bytes: EMPTY, diffId: sha256(EMPTY) }] }),
  },
  {
    name: 'a virtual machine under the type of an image',
    image: unclaimed(Buffer.from('{"architecture":"arm64","os":"darwin"}'), [
      { type: 'application/vnd.example.vm.config.v1', bytes: Buffer.from('vm config') },
      { type: 'application/vnd.example.vm.disk.v2', bytes: randomBytes(3000, 7) },
    ]),
  },
  { name: 'an empty object as config', image: unclaimed(Buffer.from('{}')) },
  {
    name: 'rootfs null and no layers',
    image: unclaimed(Buffer.from('{"architecture":"amd64","os":"linux","rootfs":null}'), []),
  },
  { name: 'a config of zero bytes', image: unclaimed(EMPTY) },
  { name: 'a config that is a list', image: unclaimed(Buffer.from('[]')) },
  {
    name: 'squashfs with +zstd',
    image: opaque(
      'application/vnd.stacker.image.layer.squashfs+zstd',
      Buffer.concat([Buffer.from('hsqs'), randomBytes(300, 8)]),
    ),
  },
  {
    name: 'squashfs with +gzip',
    image: opaque(
      'application/vnd.stacker.image.layer.squashfs+gzip',
      Buffer.concat([Buffer.from('hsqs'), randomBytes(300, 9)]),
    ),
  },
  {
    name: 'an artifact with an erofs blob',
    image: artifact('application/vnd.example.rootfs.v1.erofs+zstd', randomBytes(400, 10)),
  },
  {
    name: 'an artifact whose gzip has zeros behind it',
    image: artifact('application/vnd.example.tar+gzip', Buffer.concat([gzip(archive()), Buffer.alloc(512)])),
  },
  {
    name: 'an artifact whose gzip is truncated',
    image: artifact('application/vnd.example.v1.tar+gzip', gzip(archive()).subarray(0, 100)),
  },
  { name: 'an artifact with a zero-byte config', image: artifact('text/plain', Buffer.from('hello'), EMPTY) },
  {
    name: 'a layer in a compression that is not known',
    image: raw({
      layers: [{ type: `${OCI_LAYER}+xz`, bytes: randomBytes(300, 11), diffId: sha256(randomBytes(1, 1)) }],
    }),
  },
  {
    name: 'an encrypted layer',
    image: raw({
      layers: [{ type: `${OCI_LAYER}+gzip+encrypted`, bytes: randomBytes(300, 12), diffId: sha256(randomBytes(1, 2)) }],
    }),
  },
  { name: 'SHA-512 everywhere', image: sha512Image() },
  {
    name: 'an annotation that is null',
    image: makeImage({
      layers: [makeLayer({ seed: 13 })],
      overrides: { manifest: { annotations: { 'org.opencontainers.image.revision': null, a: 'b' } } },
    }),
  },
  {
    name: 'no mediaType in the manifest',
    image: makeImage({ layers: [makeLayer({ seed: 14 })], overrides: { manifest: { mediaType: undefined } } }),
  },
  {
    name: 'labels that differ only in letter case',
    image: makeImage({
      layers: [makeLayer({ seed: 15 })],
      overrides: { config: { config: { Labels: { a: '1', A: '2' } } } },
    }),
  },
  { name: 'an artifact', image: makeArtifact() },
  {
    name: 'an artifact that refers to an image',
    image: makeArtifact({ subject: makeImage(), blobs: [Buffer.from('sbom')] }),
  },
];
