import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseImageConfig } from '../../../lib/oci/config.ts';
import { bytesOf, DIGEST, failureOf, onlyFailures, OTHER_DIGEST } from './arbitraries.ts';

describe('image config', () => {
  test('says its platform and the digests of its uncompressed layers', () => {
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

  // Made by tools that know no platform, or before Docker had a second one; and an image without layers.
  test('without a platform it is of any', () => {
    const config = { os: '', rootfs: { type: 'layers', diff_ids: null } };
    expect(parseImageConfig(bytesOf(config))).toEqual({ platform: undefined, diffIds: [] });
  });

  test.each([
    ['{', 'invalid', 'is not JSON'],
    [[], 'invalid', 'must be an object, not an array'],
    [{ os: 'linux' }, 'invalid', 'rootfs: is missing'],
    [{ rootfs: { diff_ids: [] } }, 'invalid', 'rootfs.type: is missing'],
    [{ rootfs: { type: 'layers+base', diff_ids: [] } }, 'unsupported', 'rootfs.type: must be "layers"'],
    [{ rootfs: { type: 'layers', diff_ids: {} } }, 'invalid', 'rootfs.diff_ids: must be an array, not an object'],
    [{ rootfs: { type: 'layers', diff_ids: [DIGEST, 'x'] } }, 'invalid', 'rootfs.diff_ids[1]: "x" is no digest'],
    [{ rootfs: { type: 'layers', diff_ids: Array(1025).fill(DIGEST) } }, 'too-large', 'has 1025 elements'],
    [{ os: 1, rootfs: { type: 'layers' } }, 'invalid', 'os: must be a string, not 1'],
  ])('%j is refused (%s): %s', (config, code, detail) => {
    const failure = failureOf(() => parseImageConfig(bytesOf(config)));
    expect(failure).toMatchObject({ code, operation: 'parse image config' });
    expect(failure.detail).toContain(detail);
  });

  test('no bytes throw anything but a Failure', () => {
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array(), fc.json().map(bytesOf)), (bytes) => {
        onlyFailures(() => parseImageConfig(bytes));
      }),
    );
  });
});
