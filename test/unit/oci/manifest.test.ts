import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { MANIFEST_LIMITS, parseManifest } from '../../../lib/oci/manifest.ts';
import { MEDIA_TYPES } from '../../../lib/oci/mediatype.ts';
import { bytesOf, DIGEST, failureOf, onlyFailures, OTHER_DIGEST } from './arbitraries.ts';

const descriptor = (mediaType: string, size = 1): object => ({ mediaType, digest: DIGEST, size });
const OCI_IMAGE = {
  schemaVersion: 2,
  mediaType: MEDIA_TYPES.ociManifest,
  config: descriptor(MEDIA_TYPES.ociConfig),
  layers: [descriptor(MEDIA_TYPES.ociLayerGzip), { ...descriptor(MEDIA_TYPES.ociLayerZstd, 7), digest: OTHER_DIGEST }],
};
const DOCKER_IMAGE = {
  schemaVersion: 2,
  mediaType: MEDIA_TYPES.dockerManifest,
  config: descriptor(MEDIA_TYPES.dockerConfig),
  layers: [descriptor(MEDIA_TYPES.dockerLayerGzip)],
};
const OCI_INDEX = {
  schemaVersion: 2,
  mediaType: MEDIA_TYPES.ociIndex,
  manifests: [
    { ...descriptor(MEDIA_TYPES.ociManifest), platform: { os: 'linux', architecture: 'arm', variant: 'v7' } },
  ],
};
const DOCKER_LIST = {
  schemaVersion: 2,
  mediaType: MEDIA_TYPES.dockerList,
  manifests: [{ ...descriptor(MEDIA_TYPES.dockerManifest), platform: { os: 'linux', architecture: 'amd64' } }],
};
const ARTIFACT = {
  mediaType: MEDIA_TYPES.ociArtifact,
  artifactType: 'application/vnd.example.sbom',
  blobs: [descriptor('text/spdx')],
  subject: descriptor(MEDIA_TYPES.ociManifest),
};
const without = <T extends object>(document: T, ...keys: (keyof T)[]): Partial<T> =>
  Object.fromEntries(Object.entries(document).filter(([key]) => !keys.includes(key as keyof T))) as Partial<T>;

describe('manifest', () => {
  test.each([
    ['image', OCI_IMAGE],
    ['image', DOCKER_IMAGE],
    ['index', OCI_INDEX],
    ['index', DOCKER_LIST],
    ['artifact', ARTIFACT],
  ])('is of kind %s by its own fields, however it is declared: %j', (kind, document) => {
    const parsed = parseManifest(bytesOf(document));
    expect(parsed).toMatchObject({ kind, mediaType: document.mediaType });
    for (const declared of [
      document.mediaType,
      `${document.mediaType}; charset=utf-8`,
      document.mediaType.toUpperCase(),
      'application/json',
      'text/plain; charset=utf-8',
      'application/octet-stream',
    ])
      expect(parseManifest(bytesOf(document), declared)).toEqual(parsed);
  });

  // The OCI specification permits a missing mediaType, and some tools omit it from Docker's formats.
  test.each([OCI_IMAGE, DOCKER_IMAGE, OCI_INDEX, DOCKER_LIST, ARTIFACT])(
    'is recognised by its shape if it has no mediaType: %j',
    (document) => {
      const { mediaType, ...bare } = document;
      expect(parseManifest(bytesOf(bare)).mediaType).toBe(mediaType);
      expect(parseManifest(bytesOf(bare), 'application/json').mediaType).toBe(mediaType);
      expect(parseManifest(bytesOf(bare), mediaType)).toEqual(parseManifest(bytesOf(document)));
    },
  );

  test('keeps the order of its descriptors', () => {
    const subject = { mediaType: MEDIA_TYPES.ociManifest, digest: OTHER_DIGEST, size: 9 };
    const document = { ...OCI_IMAGE, subject, artifactType: 'application/x', annotations: { a: 'b' }, unknown: 1 };
    expect(parseManifest(bytesOf(document))).toEqual({
      kind: 'image',
      mediaType: MEDIA_TYPES.ociManifest,
      config: OCI_IMAGE.config,
      layers: OCI_IMAGE.layers,
      subject,
      artifactType: 'application/x',
      annotations: { a: 'b' },
    });
  });

  // Go encodes the nil slice of an image FROM scratch as null.
  test('treats a null list of layers as empty, and a missing one as an error', () => {
    expect(parseManifest(bytesOf({ ...OCI_IMAGE, layers: null }))).toMatchObject({ layers: [] });
    expect(failureOf(() => parseManifest(bytesOf(without(OCI_IMAGE, 'layers')))).detail).toMatch(/^layers: is missing/);
  });

  test.each([
    // One digest could be read in two ways.
    [{ ...OCI_IMAGE, manifests: OCI_INDEX.manifests }, '', 'invalid', 'it has manifests and layers and config'],
    [{ ...OCI_INDEX, layers: [] }, '', 'invalid', 'it has manifests and layers'],
    [{ ...OCI_INDEX, config: {} }, MEDIA_TYPES.ociIndex, 'invalid', 'it has manifests and config'],
    [{ ...OCI_IMAGE, fsLayers: [] }, '', 'invalid', 'layers and config and fsLayers'],
    [{ ...ARTIFACT, layers: [] }, '', 'invalid', 'it has layers and blobs'],
    // The declared type, the mediaType field and the shape contradict each other.
    [
      OCI_IMAGE,
      MEDIA_TYPES.ociIndex,
      'not-as-declared',
      `it was declared as ${MEDIA_TYPES.ociIndex}, but its mediaType is`,
    ],
    [OCI_IMAGE, MEDIA_TYPES.dockerManifest, 'not-as-declared', 'but its mediaType is'],
    [{ ...OCI_INDEX, mediaType: MEDIA_TYPES.ociManifest }, '', 'not-as-declared', 'and has manifests'],
    [without(OCI_IMAGE, 'mediaType'), MEDIA_TYPES.dockerList, 'not-as-declared', 'and has layers'],
    [without(OCI_INDEX, 'mediaType'), MEDIA_TYPES.schema1Signed, 'not-as-declared', 'and has manifests'],
    // Documents of other kinds.
    [OCI_IMAGE, 'text/html', 'unsupported', '"text/html" is not the media type of a manifest'],
    [{ ...OCI_IMAGE, mediaType: 'application/x' }, '', 'unsupported', '"application/x" is not the media type'],
    [{ ...OCI_IMAGE, mediaType: 5 }, '', 'invalid', 'mediaType: must be a string, not 5'],
    [{}, '', 'invalid', 'it is not a manifest'],
    [{ errors: [{ code: 'DENIED' }] }, 'application/json', 'invalid', 'it is not a manifest'],
    [[], '', 'invalid', 'must be an object, not an array'],
    ['null', '', 'invalid', 'must be an object, not null'],
    ['', '', 'invalid', 'is not JSON'],
    ['<html>', 'text/html', 'invalid', 'is not JSON'],
    [`${JSON.stringify(OCI_IMAGE)}x`, '', 'invalid', 'is not JSON'],
    [`\ufeff${JSON.stringify(OCI_IMAGE)}`, '', 'invalid', 'is not JSON'],
    // Versions of the schema.
    [
      { ...OCI_IMAGE, schemaVersion: 3 },
      '',
      'unsupported',
      'schemaVersion: must be 2 for this kind of manifest, not 3',
    ],
    [{ ...OCI_IMAGE, schemaVersion: '2' }, '', 'invalid', 'schemaVersion: must be a whole number, not "2"'],
    [without(OCI_INDEX, 'schemaVersion'), '', 'invalid', 'schemaVersion: is missing'],
    [{ ...ARTIFACT, schemaVersion: 1 }, '', 'unsupported', 'schemaVersion: must be 2'],
    // Invalid fields.
    [{ ...OCI_IMAGE, config: null }, '', 'invalid', 'config: must be an object, not null'],
    [
      { ...OCI_IMAGE, layers: [OCI_IMAGE.layers[0], descriptor(MEDIA_TYPES.ociLayer, -1)] },
      '',
      'invalid',
      'layers[1].size: must',
    ],
    [{ ...OCI_IMAGE, layers: { 0: OCI_IMAGE.layers[0] } }, '', 'invalid', 'layers: must be an array, not an object'],
    [{ ...OCI_INDEX, manifests: [{}] }, '', 'invalid', 'manifests[0].mediaType: is missing'],
    [{ ...OCI_IMAGE, subject: {} }, '', 'invalid', 'subject.mediaType: is missing'],
    [{ ...OCI_IMAGE, annotations: { a: 1 } }, '', 'invalid', 'annotations.a: must be a string, not 1'],
  ])('%j declared as %j is refused (%s): %s', (document, declared, code, detail) => {
    const failure = failureOf(() => parseManifest(bytesOf(document), declared));
    expect(failure).toMatchObject({ code, operation: 'parse manifest', side: 'input', remedy: 'never' });
    expect(failure.detail).toContain(detail);
  });

  // As in Go's decoder.
  test('has U+FFFD for bytes that are not UTF-8', () => {
    const bytes = bytesOf({ ...OCI_IMAGE, annotations: { a: 'X' } });
    bytes[bytes.indexOf('X'.charCodeAt(0))] = 0xff;
    expect(parseManifest(bytes)).toHaveProperty('annotations', { a: '\ufffd' });
  });

  test.each([
    [OCI_IMAGE, MEDIA_TYPES.dockerManifest],
    [DOCKER_IMAGE, MEDIA_TYPES.ociManifest],
    [OCI_INDEX, MEDIA_TYPES.dockerList],
    [DOCKER_LIST, MEDIA_TYPES.ociIndex],
  ])('has its own media type if an index declares the type of the other vendor: %j as %s', (document, declared) => {
    const bytes = bytesOf(document);
    expect(parseManifest(bytes, declared, 'index')).toEqual(parseManifest(bytes));
    expect(failureOf(() => parseManifest(bytes, declared))).toMatchObject({ code: 'not-as-declared' });
  });

  test.each([
    [OCI_IMAGE, MEDIA_TYPES.ociIndex],
    [DOCKER_LIST, MEDIA_TYPES.dockerManifest],
    [OCI_IMAGE, MEDIA_TYPES.ociArtifact],
  ])('is refused if an index declares another kind: %j as %s', (document, declared) => {
    expect(failureOf(() => parseManifest(bytesOf(document), declared, 'index')).code).toBe('not-as-declared');
  });

  test('may be as large as the limits allow, and no larger', () => {
    const { bytes, layers, children } = MANIFEST_LIMITS;
    const many = (count: number): object[] => Array(count).fill(descriptor(MEDIA_TYPES.ociLayer)) as object[];
    expect(parseManifest(bytesOf({ ...OCI_IMAGE, layers: many(layers) }))).toHaveProperty('layers.length', layers);
    expect(parseManifest(bytesOf({ ...OCI_INDEX, manifests: many(children) }))).toHaveProperty(
      'manifests.length',
      children,
    );
    for (const document of [
      { ...OCI_IMAGE, layers: many(layers + 1) },
      { ...OCI_INDEX, manifests: many(children + 1) },
      { ...ARTIFACT, blobs: many(layers + 1) },
      without({ ...OCI_INDEX, manifests: many(children + 1) }, 'mediaType'),
    ])
      expect(failureOf(() => parseManifest(bytesOf(document)))).toMatchObject({ code: 'too-large' });

    const text = JSON.stringify(OCI_IMAGE);
    expect(parseManifest(bytesOf(text.padEnd(bytes))).kind).toBe('image');
    expect(failureOf(() => parseManifest(bytesOf(text.padEnd(bytes + 1))))).toMatchObject({ code: 'too-large' });
  });

  // JSON.parse accepts any depth, and a recursive walk of the result overflows the stack.
  test('is refused if it nests too deep', () => {
    const deep = `${'['.repeat(200_000)}${']'.repeat(200_000)}`;
    const document = JSON.stringify(OCI_IMAGE).replace('{', `{"x":${deep},`);
    expect(failureOf(() => parseManifest(bytesOf(document)))).toMatchObject({ code: 'too-deep' });
  });

  test('parsing arbitrary responses throws only Failures', () => {
    const valid = fc.constantFrom<object>(OCI_IMAGE, DOCKER_IMAGE, OCI_INDEX, DOCKER_LIST, ARTIFACT);
    const field = fc.constantFrom(
      ...['schemaVersion', 'mediaType', 'config', 'layers', 'manifests', 'blobs', 'fsLayers', 'subject', 'annotations'],
      ...['signatures', 'history', '__proto__', 'toString'],
    );
    const swapped = fc
      .tuple(valid, field, fc.jsonValue())
      .map(([document, key, value]) => bytesOf({ ...document, [key]: value }));
    const nested = fc
      .tuple(
        valid,
        field,
        fc.constantFrom('mediaType', 'digest', 'size', 'platform', 'urls', 'annotations'),
        fc.jsonValue(),
      )
      .map(([document, key, inner, value]) =>
        bytesOf({ ...document, [key]: [{ ...descriptor('a/b'), [inner]: value }] }),
      );
    const damaged = fc.tuple(valid, fc.nat(), fc.integer({ min: 0, max: 255 })).map(([document, at, byte]) => {
      const bytes = bytesOf(document);
      bytes[at % bytes.length] = byte;
      return bytes;
    });
    const declared = fc.oneof(fc.constantFrom('', ...Object.values(MEDIA_TYPES)), fc.string({ unit: 'binary' }));
    fc.assert(
      fc.property(
        fc.oneof(fc.uint8Array(), fc.json().map(bytesOf), swapped, nested, damaged),
        declared,
        (bytes, mediaType) => {
          onlyFailures(() => parseManifest(bytes, mediaType));
          onlyFailures(() => parseManifest(bytes));
        },
      ),
      { numRuns: 1000 },
    );
  });
});
