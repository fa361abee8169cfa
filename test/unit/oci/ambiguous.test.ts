import { describe, expect, test } from 'vitest';
import { Failure } from '../../../lib/core/failure.ts';
import { parseReceipt } from '../../../lib/archive/receipt.ts';
import { TagIndex } from '../../../lib/archive/tag-index/tag-index.ts';
import { parseImageConfig } from '../../../lib/oci/config.ts';
import { parseManifest } from '../../../lib/oci/manifest.ts';
import { MEDIA_TYPES } from '../../../lib/oci/mediatype.ts';
import { parseMessage } from '../../../lib/queue/parse.ts';
import { makeSchema1 } from '../../kit/schema1.ts';
import { bytesOf, DIGEST, failureOf, OTHER_DIGEST } from './arbitraries.ts';

const A = { mediaType: MEDIA_TYPES.ociConfig, digest: DIGEST, size: 1 };
const B = { mediaType: MEDIA_TYPES.ociLayerGzip, digest: OTHER_DIGEST, size: 2 };
const IMAGE = { schemaVersion: 2, mediaType: MEDIA_TYPES.ociManifest, config: A, layers: [B] };
const INDEX = {
  schemaVersion: 2,
  mediaType: MEDIA_TYPES.ociIndex,
  manifests: [{ ...A, mediaType: MEDIA_TYPES.ociManifest, platform: { os: 'linux', architecture: 'amd64' } }],
};
const CONFIG = { os: 'linux', architecture: 'amd64', rootfs: { type: 'layers', diff_ids: [DIGEST] } };
const [child] = INDEX.manifests;

/**
 * A document with one more member at the end of the object that contains `key`, as JSON that JavaScript would not
 * write.
 */
function adding(document: object, member: string, value: unknown): Uint8Array {
  return bytesOf(`${JSON.stringify(document).slice(0, -1)},"${member}":${JSON.stringify(value)}}`);
}

describe('a document that other readers would read differently is refused, and the error names the key', () => {
  test.each<[member: string, document: object, value: unknown]>([
    ['Layers', IMAGE, []],
    ['LAYERS', IMAGE, null],
    ['layerſ', IMAGE, [A]],
    ['Config', IMAGE, A],
    ['MediaType', IMAGE, MEDIA_TYPES.ociIndex],
    ['mediatype', IMAGE, MEDIA_TYPES.ociManifest],
    ['schemaverſion', IMAGE, 1],
    ['Manifests', IMAGE, INDEX.manifests],
    ['manifeſts', INDEX, []],
    ['Subject', IMAGE, A],
    ['Annotations', IMAGE, {}],
    ['artifacttype', IMAGE, 'x/y'],
    ['Blobs', { mediaType: MEDIA_TYPES.ociArtifact, blobs: [B] }, []],
    ['layers', IMAGE, []],
    ['config', IMAGE, A],
  ])('a manifest with %s is refused', (member, document, value) => {
    const failure = failureOf(() => parseManifest(adding(document, member, value)));
    expect(failure).toMatchObject({ code: 'invalid', remedy: 'never' });
    expect(failure.detail).toContain(member);
  });

  test.each<[path: string, document: object]>([
    ['config.Digest', { ...IMAGE, config: { ...A, Digest: OTHER_DIGEST } }],
    ['config.ſize', { ...IMAGE, config: { ...A, ſize: 2 } }],
    ['layers[0].DIGEST', { ...IMAGE, layers: [{ ...B, DIGEST }] }],
    ['layers[0].URLs', { ...IMAGE, layers: [{ ...B, URLs: [] }] }],
    ['layers[1].mediatype', { ...IMAGE, layers: [B, { ...B, mediatype: 'a/b' }] }],
    ['subject.Size', { ...IMAGE, subject: { ...A, Size: 1 } }],
    ['manifests[0].Platform', { ...INDEX, manifests: [{ ...child, Platform: {} }] }],
    ['manifests[0].platform.OS', { ...INDEX, manifests: [{ ...child, platform: { ...child?.platform, OS: 'x' } }] }],
    [
      'manifests[0].platform.oſ.version',
      { ...INDEX, manifests: [{ ...child, platform: { ...child?.platform, 'oſ.version': 'x' } }] },
    ],
  ])('a descriptor with %s is refused', (path, document) => {
    const failure = failureOf(() => parseManifest(bytesOf(document)));
    expect(failure).toMatchObject({ code: 'invalid', detail: expect.stringContaining(`${path}: `) as string });
  });

  test.each<[member: string, document: object, value: unknown]>([
    ['Rootfs', CONFIG, { type: 'layers', diff_ids: [] }],
    ['rootfſ', CONFIG, null],
    ['RootFS', { os: 'linux' }, CONFIG.rootfs],
    ['rootfs', CONFIG, { type: 'layers', diff_ids: [] }],
    ['OS', CONFIG, 'windows'],
  ])('an image config with %s is refused', (member, document, value) => {
    const failure = failureOf(() => parseImageConfig(adding(document, member, value)));
    expect(failure).toMatchObject({ code: 'invalid', detail: expect.stringContaining(member) as string });
  });

  test.each<[path: string, members: object]>([
    ['Config', { config: { User: '1000' }, Config: { User: '0' } }],
    ['CONFIG', { Config: {}, CONFIG: null }],
    ['config.cmd', { config: { Cmd: ['/bin/good'], cmd: ['/bin/evil'] } }],
    ['config.uſer', { config: { User: '1000', uſer: '0' } }],
    ['config.entryPoint', { config: { Entrypoint: [], entryPoint: ['x'] } }],
    ['config.ENV', { config: { Env: [], ENV: [] } }],
    ['config.labels', { config: { Labels: { a: '1' }, labels: {} } }],
    ['config.HealthCheck', { config: { Healthcheck: {}, HealthCheck: {} } }],
    ['Created', { created: '', Created: '' }],
    ['AUTHOR', { author: 'a', AUTHOR: 'b' }],
    ['hiſtory', { history: [], hiſtory: [] }],
    ['history[1].created_By', { history: [{}, { created_by: 'a', created_By: 'b' }] }],
    ['history[0].Empty_layer', { history: [{ empty_layer: true, Empty_layer: false }] }],
  ])('an image config with two keys for one setting is refused: %s', (path, members) => {
    const failure = failureOf(() => parseImageConfig(bytesOf({ ...CONFIG, ...members })));
    expect(failure).toMatchObject({ code: 'invalid', detail: expect.stringContaining(`${path}: `) as string });
    expect(failure.detail).toContain('readers that ignore case');
    // Without a rootfs as well: the settings count even if no layer is claimed.
    expect(failureOf(() => parseImageConfig(bytesOf(members))).detail).toBe(failure.detail);
  });

  test('a v1Compatibility with two keys for one setting is refused', () => {
    const v1 = { config: { Cmd: ['/bin/good'], CMD: ['/bin/evil'] } };
    const { manifest } = makeSchema1({ signed: false, v1: () => v1 });
    expect(failureOf(() => parseManifest(manifest)).detail).toContain('history[0].v1Compatibility.config.CMD: ');
  });

  test.each(['DIFF_IDS', 'Type', 'diff_idſ'])('the rootfs of an image config with %s is refused', (member) => {
    const config = { ...CONFIG, rootfs: { ...CONFIG.rootfs, [member]: [OTHER_DIGEST] } };
    expect(failureOf(() => parseImageConfig(bytesOf(config)))).toMatchObject({
      code: 'invalid',
      detail: expect.stringContaining(`rootfs.${member}: `) as string,
    });
  });

  test.each(['FSLayers', 'History', 'Architecture', 'NAME', 'TAG', 'Signatures'])(
    'a schema 1 manifest with %s is refused',
    (member) => {
      const { manifest } = makeSchema1({ signed: false, overrides: { [member]: [] } });
      expect(failureOf(() => parseManifest(manifest)).detail).toContain(member);
    },
  );

  test.each(['ID', 'Parent', 'Throwaway', 'Container_Config', 'Created', 'OS'])(
    'a v1Compatibility with %s is refused',
    (member) => {
      const { manifest } = makeSchema1({ signed: false, v1: () => ({ [member]: true }) });
      expect(failureOf(() => parseManifest(manifest)).detail).toContain(`history[0].v1Compatibility.${member}: `);
    },
  );

  test.each<[member: string, value: unknown]>([
    ['Manifests', []],
    ['manifests', []],
    ['SchemaVersion', 2],
  ])('a tag index with %s is refused', (member, value) => {
    const bytes = adding({ schemaVersion: 2, manifests: [] }, member, value);
    expect(() => TagIndex.parse(bytes, 'x')).toThrow(Failure);
    expect(() => TagIndex.parse(bytes, 'x')).toThrow(member);
  });

  test.each(['Digest', 'digest', 'SIZE'])('a receipt with %s is refused', (member) => {
    const receipt = { version: 1, digest: DIGEST, size: 1, diffId: DIGEST, compression: 'none', source: 'x/y' };
    const bytes = adding({ ...receipt, verifiedAt: '2026-01-01T00:00:00Z' }, member, OTHER_DIGEST);
    expect(() => parseReceipt(bytes, DIGEST)).toThrow(member);
  });

  test.each(['Run', 'run', 'Platforms'])('a message with %s is refused', (member) => {
    const order = { run: 'r', source: 'docker.io/library/a', repository: 'docker.io/library/a', platforms: 'all' };
    const message = { version: 1, type: 'resolve', ...order, what: { kind: 'list' } };
    const text = Buffer.from(adding(message, member, 'other')).toString();
    expect(failureOf(() => parseMessage(text)).detail).toContain(member);
  });
});

describe('keys that differ only in case', () => {
  test('are accepted in annotations, with their values unchanged', () => {
    const annotations = { title: 'a', Title: 'b', TITLE: 'c', tıtle: 'd' };
    expect(parseManifest(bytesOf({ ...IMAGE, annotations }))).toMatchObject({ annotations });
    expect(parseManifest(bytesOf({ ...IMAGE, layers: [{ ...B, annotations }] }))).toMatchObject({
      layers: [{ annotations }],
    });
  });

  test('are accepted in labels and in unknown fields', () => {
    const config = { ...CONFIG, config: { Labels: { a: '1', A: '2' }, Own: [], own: [] }, Docker: 1, docker: 2 };
    expect(parseImageConfig(bytesOf(config))).toMatchObject({ diffIds: [DIGEST] });
  });

  test.each([{ Config: { cmd: ['a'] } }, { config: { env: [], user: 1 }, Created: 5, history: [{ Comment: 'a' }] }])(
    'are accepted as settings of an image config if each stands alone: %j',
    (members) => {
      expect(parseImageConfig(bytesOf({ ...CONFIG, ...members }))).toMatchObject({ diffIds: [DIGEST] });
    },
  );

  test('are accepted in settings of an unexpected type', () => {
    const config = { ...CONFIG, config: [{ Cmd: 1, cmd: 2 }], history: { created: 1, Created: 2 } };
    expect(parseImageConfig(bytesOf(config))).toMatchObject({ diffIds: [DIGEST] });
  });
});

test('an annotation with the value null counts as missing in manifests, indexes and descriptors', () => {
  const annotations = { a: 'b', none: null };
  expect(parseManifest(bytesOf({ ...IMAGE, annotations }))).toHaveProperty('annotations', { a: 'b' });
  expect(parseManifest(bytesOf({ ...INDEX, annotations }))).toHaveProperty('annotations', { a: 'b' });
  expect(parseManifest(bytesOf({ ...IMAGE, layers: [{ ...B, annotations }] }))).toHaveProperty('layers.0.annotations', {
    a: 'b',
  });
});
