import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseImageConfig } from '../../../lib/oci/config.ts';
import { bytesOf, DIGEST, failureOf, onlyFailures, OTHER_DIGEST } from './arbitraries.ts';

describe('image config', () => {
  test('has a platform and the digests of its uncompressed layers', () => {
    const config = {
      os: 'windows',
      architecture: 'amd64',
      'os.version': '10.0.20348.1',
      'os.features': ['win32k'],
      rootfs: { type: 'layers', diff_ids: [DIGEST, OTHER_DIGEST] },
    };
    expect(parseImageConfig(bytesOf(config))).toEqual({
      platform: { os: 'windows', architecture: 'amd64', osVersion: '10.0.20348.1', osFeatures: ['win32k'] },
      diffIds: [DIGEST, OTHER_DIGEST],
    });
  });

  test.each([
    { OS: 'linux', Architecture: 'arm', VARIANT: 'v7' },
    { Os: 'linux', architecture: 'arm', variant: 'v7' },
    { oſ: 'linux', architecture: 'arm', Variant: 'v7' },
  ])('has the platform of keys in another case, as in Go: %j', (platform) => {
    const rootfs = { type: 'layers', diff_ids: [DIGEST] };
    expect(parseImageConfig(bytesOf({ ...platform, rootfs }))).toEqual({
      platform: { os: 'linux', architecture: 'arm', variant: 'v7' },
      diffIds: [DIGEST],
    });
  });

  // Old tools write such configs.
  test('has no platform if its fields are empty, and no layers if diff_ids is null', () => {
    const config = { os: '', rootfs: { type: 'layers', diff_ids: null } };
    expect(parseImageConfig(bytesOf(config))).toEqual({ platform: undefined, diffIds: [] });
  });

  test.each([
    [
      { rootfs: 'x' },
      'invalid',
      'rootfs: must be an object, not "x"; it has the config type of an image, but is not an image',
    ],
    [{ rootfs: [] }, 'invalid', 'rootfs: must be an object, not an array'],
    [{ rootfs: { type: 1, diff_ids: [] } }, 'invalid', 'rootfs.type: must be a string, not 1'],
    [{ rootfs: { type: 'layers+base', diff_ids: [] } }, 'unsupported', 'rootfs.type: must be "layers"'],
    [{ rootfs: { type: 'layers', diff_ids: {} } }, 'invalid', 'rootfs.diff_ids: must be an array, not an object'],
    [{ rootfs: { type: 'layers', diff_ids: [DIGEST, 'x'] } }, 'invalid', 'rootfs.diff_ids[1]: "x" is not a digest'],
    [
      { rootfs: { type: 'layers', diff_ids: Array(1025).fill(DIGEST) } },
      'too-large',
      'expected at most 1024 elements, got 1025',
    ],
    [{ OS: 'linux', Os: 'windows' }, 'invalid', 'Os: is taken for "OS" by readers that ignore case'],
    ['{"rootfs":{},"rootfs":{}}', 'invalid', 'has the key "rootfs" twice'],
    ['['.repeat(65), 'too-deep', 'nests deeper than 64 levels'],
  ])('%j is refused (%s): %s', (config, code, detail) => {
    const failure = failureOf(() => parseImageConfig(bytesOf(config)));
    expect(failure).toMatchObject({ code, operation: 'parse image config' });
    expect(failure.detail).toContain(detail);
  });

  test.each([
    ['no JSON', '{'],
    ['an object that is not JSON, with something behind it', "{'a':1}{}"],
    ['another value with something behind it', '[]{"rootfs":{"diff_ids":["x"]}}'],
    ['text before an object', 'x{"rootfs":{"diff_ids":["x"]}}'],
    ['no bytes', ''],
    ['an array', '[]'],
    ['null', 'null'],
    ['an object without a rootfs', '{"architecture":"arm64","os":"darwin"}'],
    ['a rootfs that is null', '{"rootfs":null}'],
    ['a rootfs that is empty', '{"rootfs":{}}'],
    ['the rootfs that Go writes where nothing was filled in', '{"rootfs":{"type":"","diff_ids":null}}'],
  ])('makes no claim about layers if it is %s', (_, text) => {
    expect(parseImageConfig(bytesOf(text))).toHaveProperty('diffIds', undefined);
  });

  test.each(['x', '{}', '\0', ',', '\n}', '"', ' null', '\u00a0'])('is refused with %j behind its object', (tail) => {
    const text = JSON.stringify({ author: '}"{', rootfs: { type: 'layers', diff_ids: [OTHER_DIGEST] } }, undefined, 1);
    const failure = failureOf(() => parseImageConfig(bytesOf(` ${text}${tail}`)));
    expect(failure).toMatchObject({ code: 'invalid', operation: 'parse image config' });
    expect(failure.detail).toBe('has something behind its JSON object, which other readers ignore');
  });

  const rootfs = { type: 'layers', diff_ids: [DIGEST] };
  test.each<[string, Uint8Array]>([
    ['a platform that cannot be read', bytesOf({ os: 1, 'os.features': 'x', rootfs })],
    [
      'text that is not UTF-8',
      Buffer.concat([bytesOf('{"author":"Jos'), Buffer.from([0xe9]), bytesOf(`","rootfs":${JSON.stringify(rootfs)}}`)]),
    ],
    ['a byte order mark', bytesOf(`\ufeff${JSON.stringify({ rootfs })}`)],
    ['a rootfs without its type', bytesOf({ rootfs: { diff_ids: [DIGEST] } })],
    ['a history that is not a list', bytesOf({ history: 5, config: [], rootfs })],
  ])('keeps its claim about layers with %s', (_, bytes) => {
    expect(parseImageConfig(bytes).diffIds).toEqual([DIGEST]);
  });

  test('parsing arbitrary bytes throws only Failures', () => {
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array(), fc.json().map(bytesOf)), (bytes) => {
        onlyFailures(() => parseImageConfig(bytes));
      }),
    );
  });
});
