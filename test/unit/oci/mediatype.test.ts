import { describe, expect, test } from 'vitest';
import {
  ACCEPT_MANIFESTS,
  compressionOf,
  hasImageConfig,
  isForeignLayer,
  manifestKind,
  MEDIA_TYPES,
} from '../../../lib/oci/mediatype.ts';

describe('media type', () => {
  test.each([
    [MEDIA_TYPES.ociManifest, 'image'],
    [MEDIA_TYPES.dockerManifest, 'image'],
    [MEDIA_TYPES.ociIndex, 'index'],
    [MEDIA_TYPES.dockerList, 'index'],
    [MEDIA_TYPES.ociArtifact, 'artifact'],
    [MEDIA_TYPES.schema1, 'schema1'],
    [MEDIA_TYPES.schema1Signed, 'schema1'],
    ['Application/VND.OCI.image.index.v1+JSON ; charset=utf-8', 'index'],
    [MEDIA_TYPES.ociConfig, undefined],
    ['application/json', undefined],
    ['', undefined],
  ])('%s is a manifest of kind %s', (mediaType, kind) => {
    expect(manifestKind(mediaType)).toBe(kind);
  });

  // A registry converts a manifest of a kind that is not accepted, and the result has another digest.
  test('the Accept header lists every kind of manifest, with schema 1 last', () => {
    const accepted = ACCEPT_MANIFESTS.split(', ');
    expect(accepted).toHaveLength(7);
    expect(accepted.every((mediaType) => manifestKind(mediaType) !== undefined)).toBe(true);
    expect(accepted.slice(-2)).toEqual([MEDIA_TYPES.schema1Signed, MEDIA_TYPES.schema1]);
  });

  test.each([
    [MEDIA_TYPES.ociLayer, 'none', false],
    [MEDIA_TYPES.ociLayerGzip, 'gzip', false],
    [MEDIA_TYPES.ociLayerZstd, 'zstd', false],
    [MEDIA_TYPES.dockerLayer, 'none', false],
    [MEDIA_TYPES.dockerLayerGzip, 'gzip', false],
    ['application/vnd.docker.image.rootfs.diff.tar.zstd', 'zstd', false],
    [MEDIA_TYPES.ociForeignLayer, 'none', true],
    [MEDIA_TYPES.ociForeignLayerGzip, 'gzip', true],
    [MEDIA_TYPES.ociForeignLayerZstd, 'zstd', true],
    [MEDIA_TYPES.dockerForeignLayer, 'none', true],
    [MEDIA_TYPES.dockerForeignLayerGzip, 'gzip', true],
    ['application/vnd.in-toto+json', 'none', false],
    ['application/vnd.oci.image.layer.v1.tar+gzip+encrypted', 'none', false],
    ['application/x-gzip', 'none', false],
    ['', 'none', false],
  ] as const)('%s declares compression %s, foreign: %s', (mediaType, compression, foreign) => {
    expect(compressionOf(mediaType)).toBe(compression);
    expect(isForeignLayer(mediaType)).toBe(foreign);
  });

  // Docker has pushed configs under arbitrary types. They are configs of images only in its own manifests.
  test.each([
    [MEDIA_TYPES.ociConfig, true, true],
    [MEDIA_TYPES.dockerConfig, true, true],
    ['application/octet-stream', true, false],
    ['application/json; charset=utf-8', true, false],
    ['text/html', true, false],
    ['', true, false],
    [MEDIA_TYPES.ociEmpty, false, false],
    ['application/vnd.cncf.helm.config.v1+json', false, false],
    ['application/vnd.docker.plugin.v1+json', false, false],
  ])(
    '%s is the config type of an image in a Docker manifest: %s, in an OCI manifest: %s',
    (mediaType, inDocker, inOci) => {
      const config = { mediaType };
      expect(hasImageConfig({ mediaType: MEDIA_TYPES.dockerManifest, config })).toBe(inDocker);
      expect(hasImageConfig({ mediaType: MEDIA_TYPES.ociManifest, config })).toBe(inOci);
    },
  );
});
