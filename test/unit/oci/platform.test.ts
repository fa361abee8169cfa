import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { formatPlatform, matchesPlatform, normalizePlatform, parsePlatform } from '../../../lib/oci/platform.ts';
import { failureOf, onlyFailures, platforms } from './arbitraries.ts';

describe('platform', () => {
  // These are the rules of containerd.
  test.each([
    ['linux/amd64', 'linux/amd64'],
    ['Linux/AMD64/v1', 'linux/amd64'],
    ['linux/x86_64', 'linux/amd64'],
    ['linux/x86-64/v3', 'linux/amd64/v3'],
    ['linux/i386', 'linux/386'],
    ['linux/aarch64', 'linux/arm64'],
    ['linux/arm64/v8', 'linux/arm64'],
    ['linux/arm64/8', 'linux/arm64'],
    ['linux/arm64/v9', 'linux/arm64/v9'],
    ['linux/arm', 'linux/arm/v7'],
    ['linux/arm/7', 'linux/arm/v7'],
    ['linux/arm/v6', 'linux/arm/v6'],
    ['linux/arm/5', 'linux/arm/v5'],
    ['linux/armhf', 'linux/arm/v7'],
    ['linux/armel', 'linux/arm/v6'],
    ['macos/arm64', 'darwin/arm64'],
    ['windows(10.0.17763.5576)/amd64', 'windows(10.0.17763.5576)/amd64'],
    ['windows(+win32k+a+win32k)/amd64', 'windows(+a+win32k)/amd64'],
    ['windows(10.0%2B1+x%20y)/amd64', 'windows(10.0%2B1+x%20y)/amd64'],
    ['unknown/unknown', 'unknown/unknown'],
  ])('%s is normalised to %s', (text, normalised) => {
    expect(formatPlatform(parsePlatform(text))).toBe(normalised);
  });

  test('is parsed to OS, architecture, variant and version', () => {
    expect(parsePlatform('windows(10.0.20348+win32k)/amd64')).toEqual({
      os: 'windows',
      architecture: 'amd64',
      osVersion: '10.0.20348',
      osFeatures: ['win32k'],
    });
    expect(parsePlatform('linux/arm64/v8')).toEqual({ os: 'linux', architecture: 'arm64' });
  });

  test.each([
    ['', 'written OS/ARCH'],
    ['linux', 'written OS/ARCH'],
    ['arm64', 'written OS/ARCH'],
    ['linux/amd64,linux/arm64', 'expected one platform; repeat --platform for each, or write a list in mirror.yaml'],
    ['linux/amd64,arm64', 'expected one platform; repeat --platform'],
    ['linux/', '"" may have letters'],
    ['/amd64', 'is not an operating system'],
    ['linux/amd64/', '"" may have letters'],
    ['linux/amd64/v1/x', 'more parts'],
    ['linux/*', '"*" may have letters'],
    ['lin ux/amd64', 'is not an operating system'],
    ['windows(10/amd64', 'is not an operating system'],
    ['windows(%)/amd64', 'begins no escape'],
    ['windows(+%ff)/amd64', 'begins no escape'],
  ])('%j is refused: %s', (text, detail) => {
    const failure = failureOf(() => parsePlatform(text));
    expect(failure).toMatchObject({ code: 'invalid', operation: `parse platform "${text}"` });
    expect(failure.detail).toContain(detail);
  });

  test('keeps its text when it is parsed again, and normalising twice changes nothing', () => {
    fc.assert(
      fc.property(platforms, (platform) => {
        expect(parsePlatform(formatPlatform(platform))).toEqual(platform);
        expect(normalizePlatform(platform)).toEqual(platform);
        expect(matchesPlatform(platform, platform)).toBe(true);
      }),
    );
  });

  test('parsing arbitrary text throws only Failures', () => {
    const pieces = fc.constantFrom('linux', '/', '(', ')', '+', '%', '%41', '%ff', 'arm', '.', '\0');
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string({ unit: 'binary' }),
          fc.array(pieces).map((all) => all.join('')),
        ),
        (text) => {
          onlyFailures(() => {
            const platform = parsePlatform(text);
            expect(parsePlatform(formatPlatform(platform))).toEqual(platform);
          });
        },
      ),
    );
  });

  // Error messages contain the platforms that a registry sends.
  test('is printable on one line, whatever the document contains', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        const printed = formatPlatform({
          os: text,
          architecture: text,
          variant: text,
          osVersion: text,
          osFeatures: [text],
        });
        expect(printed).toMatch(/^[ -~]*$/);
      }),
    );
  });

  test.each([
    ['linux/arm64', { os: 'linux', architecture: 'arm64', variant: 'v8' }, true],
    ['linux/arm64/v8', { os: 'linux', architecture: 'aarch64' }, true],
    ['linux/arm64', { os: 'linux', architecture: 'arm64', variant: 'v9' }, false],
    ['linux/arm', { os: 'linux', architecture: 'arm', variant: 'v7' }, true],
    ['linux/arm/v7', { os: 'linux', architecture: 'arm' }, true],
    ['linux/arm', { os: 'linux', architecture: 'arm', variant: 'v6' }, false],
    ['linux/amd64', { os: 'linux', architecture: 'amd64', variant: 'v1' }, true],
    ['linux/amd64', { os: 'linux', architecture: 'amd64', variant: 'v3' }, false],
    ['linux/amd64/v3', { os: 'linux', architecture: 'amd64', variant: 'v3' }, true],
    ['linux/amd64/v3', { os: 'linux', architecture: 'amd64', variant: 'v2' }, false],
    ['linux/amd64', { os: 'windows', architecture: 'amd64' }, false],
    ['linux/amd64', { os: 'linux', architecture: '386' }, false],
    ['windows/amd64', { os: 'windows', architecture: 'amd64', osVersion: '10.0.17763.1' }, true],
    ['windows(10.0.17763)/amd64', { os: 'windows', architecture: 'amd64', osVersion: '10.0.17763.5576' }, true],
    ['windows(10.0.17763.1)/amd64', { os: 'windows', architecture: 'amd64', osVersion: '10.0.17763.5576' }, true],
    ['windows(10.0.1776)/amd64', { os: 'windows', architecture: 'amd64', osVersion: '10.0.17763.5576' }, false],
    ['windows(10.0.20348)/amd64', { os: 'windows', architecture: 'amd64', osVersion: '10.0.17763.5576' }, false],
    ['windows(10.0.17763)/amd64', { os: 'windows', architecture: 'amd64', osVersion: '10.0' }, false],
    ['windows(10.0.17763)/amd64', { os: 'windows', architecture: 'amd64' }, true],
    ['windows/amd64', { os: 'windows', architecture: 'amd64', osFeatures: ['win32k'] }, true],
    ['windows(+win32k)/amd64', { os: 'windows', architecture: 'amd64', osFeatures: ['win32k', 'x'] }, false],
    ['windows(+win32k+x)/amd64', { os: 'windows', architecture: 'amd64', osFeatures: ['win32k'] }, true],
    ['windows(+win32k)/amd64', { os: 'windows', architecture: 'amd64' }, true],
  ] as const)('the requested platform %s matches %j: %s', (wanted, have, expected) => {
    expect(matchesPlatform(parsePlatform(wanted), have)).toBe(expected);
  });
});
