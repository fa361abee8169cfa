import { generateKeyPairSync, sign } from 'node:crypto';
import { sha256 } from './content.ts';
import { type Layer, makeLayer, type Pushable, pushable } from './images.ts';

export interface Schema1Options {
  /** The layers, from the base up. */
  readonly layers?: readonly Layer[];
  readonly name?: string;
  readonly tag?: string;
  readonly signed?: boolean;
  /** Merged over the `v1Compatibility` of the layer with that index, counted from the base. */
  readonly v1?: (index: number) => Record<string, unknown>;
  /** Merged over the payload. */
  readonly overrides?: Record<string, unknown>;
}

/**
 * Docker image manifest version 2, schema 1, as registries from before 2016 serve it: newest layer first, the config
 * in each layer's history, and signed by a temporary key. Its digest is that of the payload without the signatures.
 */
export function makeSchema1(options: Schema1Options = {}): Pushable {
  const { layers = [makeLayer()], name = 'library/old', tag = 'latest', signed = true, v1, overrides } = options;
  const history = layers.map((_, index) => ({
    id: idOf(index),
    ...(index === 0 ? {} : { parent: idOf(index - 1) }),
    created: '2015-01-02T03:04:05Z',
    container_config: { Cmd: ['/bin/sh', '-c', `#(nop) layer ${index}`] },
    ...(index === layers.length - 1 ? { os: 'linux', architecture: 'amd64', config: { Cmd: ['/bin/true'] } } : {}),
    ...v1?.(index),
  }));
  const payload = Buffer.from(
    JSON.stringify(
      {
        schemaVersion: 1,
        name,
        tag,
        architecture: 'amd64',
        fsLayers: layers.map(({ digest }) => ({ blobSum: digest })).reverse(),
        history: history.map((entry) => ({ v1Compatibility: JSON.stringify(entry) })).reverse(),
        ...overrides,
      },
      undefined,
      3,
    ),
  );
  const mediaType = `application/vnd.docker.distribution.manifest.v1+${signed ? 'prettyjws' : 'json'}`;
  const digest = sha256(payload);
  const manifest = signed ? prettyJws(payload) : payload;
  return {
    ...pushable(manifest, mediaType),
    digest,
    descriptor: { mediaType, digest, size: manifest.length },
    blobs: new Map(layers.map((layer) => [layer.digest, layer.blob])),
  };
}

function idOf(index: number): string {
  return sha256(Buffer.from(`layer ${index}`)).slice('sha256:'.length);
}

/** The signature is inside the document that it signs, before its last brace (docker/libtrust). */
function prettyJws(payload: Buffer): Buffer {
  const tail = '\n}';
  const formatLength = payload.length - tail.length;
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const base64url = (bytes: Buffer | string): string => Buffer.from(bytes).toString('base64url');
  const header = { formatLength, formatTail: base64url(tail), time: '2015-01-02T03:04:05Z' };
  const protectedHeader = base64url(JSON.stringify(header));
  const input = Buffer.from(`${protectedHeader}.${base64url(payload)}`);
  const signature = base64url(sign('sha256', input, { key: privateKey, dsaEncoding: 'ieee-p1363' }));
  const jwk = { ...publicKey.export({ format: 'jwk' }), kid: 'TEST' };
  const signatures = [{ header: { jwk, alg: 'ES256' }, signature, protected: protectedHeader }];
  const inner = JSON.stringify(signatures, undefined, 3).replaceAll('\n', '\n   ');
  return Buffer.concat([payload.subarray(0, formatLength), Buffer.from(`,\n   "signatures": ${inner}${tail}`)]);
}
