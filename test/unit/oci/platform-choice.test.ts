import { describe, expect, test } from 'vitest';
import type { Descriptor } from '../../../lib/oci/descriptor.ts';
import { type Digest, digestOf } from '../../../lib/oci/digest.ts';
import { MEDIA_TYPES } from '../../../lib/oci/mediatype.ts';
import { parsePlatform, type Platform } from '../../../lib/oci/platform.ts';
import { PlatformChoice } from '../../../lib/oci/platform-choice.ts';
import { bytesOf, failureOf } from './arbitraries.ts';

describe('choice of platforms', () => {
  const digest = (name: string): Digest => digestOf(bytesOf(name));
  const child = (name: string, platform?: Platform, annotations?: Record<string, string>): Descriptor => ({
    mediaType: MEDIA_TYPES.ociManifest,
    digest: digest(name),
    size: 1,
    ...(platform === undefined ? {} : { platform }),
    ...(annotations === undefined ? {} : { annotations }),
  });
  const attestation = (name: string): Descriptor =>
    child(
      `attestation of ${name}`,
      { os: 'unknown', architecture: 'unknown' },
      {
        'vnd.docker.reference.type': 'attestation-manifest',
        'vnd.docker.reference.digest': digest(name),
      },
    );
  const amd64 = child('amd64', { os: 'linux', architecture: 'amd64' });
  const arm64 = child('arm64', { os: 'linux', architecture: 'arm64', variant: 'v8' });
  const children = [amd64, arm64, attestation('amd64'), attestation('arm64')];

  const choice = (...wanted: readonly string[]): PlatformChoice => new PlatformChoice(wanted.map(parsePlatform));

  test('all selects every child, including attestations and unknown platforms', () => {
    const all = new PlatformChoice('all');
    expect(all.among(children)).toEqual(children);
    all.conclude();
  });

  test('a platform includes the attestations of its image', () => {
    expect(choice('linux/arm64').among(children)).toEqual([arm64, attestation('arm64')]);
  });

  test('several platforms keep the order of the index', () => {
    const some = choice('linux/arm64', 'linux/amd64', 'linux/s390x');
    expect(some.among(children)).toEqual(children);
    some.conclude();
  });

  test('children without a platform are always kept', () => {
    const nested = child('nested');
    expect(choice('linux/amd64').among([nested, amd64, arm64])).toEqual([nested, amd64]);
  });

  test('the error lists the available platforms if none matches', () => {
    const none = choice('linux/s390x', 'linux/arm/v6');
    expect(none.among(children)).toEqual([]);
    const failure = failureOf(() => {
      none.conclude();
    });
    expect(failure).toMatchObject({ code: 'no-platform', operation: 'choose platforms linux/s390x, linux/arm/v6' });
    expect(failure.detail).toBe('the image has none of them; it has linux/amd64, linux/arm64/v8');
  });

  test('a platform counts as found if any index of the image has it', () => {
    const some = choice('linux/amd64');
    expect(some.among([arm64])).toEqual([]);
    expect(some.matched).toBe(false);
    expect(some.among([amd64])).toEqual([amd64]);
    some.conclude();
  });

  test('a child without a platform does not count as a match while others have platforms', () => {
    const some = choice('linux/amd64');
    expect(some.among([arm64, child('sbom')])).toEqual([child('sbom')]);
    expect(
      failureOf(() => {
        some.conclude();
      }).code,
    ).toBe('no-platform');
  });

  test.each([[[]], [[child('signature')]]])('an index without platforms is not a failure: %j', (children) => {
    const some = choice('linux/amd64');
    expect(some.among(children)).toEqual(children);
    some.image(undefined);
    some.conclude();
  });

  // The config of an image without an index.
  test.each<[string, Platform, boolean]>([
    ['linux/amd64', { os: 'linux', architecture: 'amd64' }, true],
    ['linux/amd64', { os: 'linux', architecture: 'arm64' }, false],
    // Docker began to write variants in 2020.
    ['linux/arm/v6', { os: 'linux', architecture: 'arm' }, true],
    ['linux/arm/v6', { os: 'linux', architecture: 'arm', variant: 'v7' }, false],
    ['linux/amd64', { os: 'unknown', architecture: 'unknown' }, true],
  ])('the choice %s accepts an image config with the platform %j: %s', (wanted, have, fits) => {
    const some = choice(wanted);
    some.image(have);
    if (fits) some.conclude();
    else
      expect(
        failureOf(() => {
          some.conclude();
        }).code,
      ).toBe('no-platform');
  });
});
