import { type Failure, invalid } from '../core/failure.ts';
import { defined } from '../core/defined.ts';
import type { Place } from './document.ts';
import { show } from './show.ts';

/** OCI image spec, "Image Index", `platform`: names as Go has them for GOOS and GOARCH. */
export interface Platform {
  readonly os: string;
  readonly architecture: string;
  readonly variant?: string;
  readonly osVersion?: string;
  readonly osFeatures?: readonly string[];
}

/**
 * os, then optionally `(version+feature+feature)` with percent escapes: containerd prints Windows platforms this way.
 */
const OS = /^([\w-]+)(?:\(([\w.%-]*)((?:\+[\w.%-]+)*)\))?$/;
const NAME = /^[\w.-]+$/;

/** The maximum number of OS features of a platform, more than any image has; every message of a run contains them. */
const MAX_OS_FEATURES = 32;

/**
 * Parses and normalises `OS/ARCH[/VARIANT]`: `linux/x86_64` is linux/amd64. Neither part defaults to this machine's
 * platform, which rarely is the platform of the image.
 */
export function parsePlatform(text: string): Platform {
  const wrong = (detail: string): Failure => invalid(`parse platform ${show(text)}`, detail);
  if (text.includes(','))
    throw wrong('expected one platform; repeat --platform for each, or write a list in mirror.yaml');
  const [osPart = '', architecture, variant, ...rest] = text.split('/');
  if (architecture === undefined) throw wrong('it is written OS/ARCH[/VARIANT], such as linux/amd64 or linux/arm/v7');
  if (rest.length > 0) throw wrong('it has more parts than OS/ARCH/VARIANT');
  const [, os = '', version = '', features = ''] = OS.exec(osPart) ?? [];
  if (os === '')
    throw wrong(`${show(osPart)} is not an operating system (expected one such as linux or windows(10.0.20348))`);
  for (const part of [architecture, variant ?? architecture])
    if (!NAME.test(part))
      throw wrong(`${show(part)} may have letters, digits, "_", "." and "-" only, and one at least`);
  const decode = (part: string): string => {
    try {
      return decodeURIComponent(part);
    } catch {
      throw wrong(`${show(part)} has a percent sign that begins no escape; write %25 for the sign itself`);
    }
  };
  return normalizePlatform(
    defined({
      os,
      architecture,
      variant,
      osVersion: decode(version),
      osFeatures: features.split('+').slice(1).map(decode),
    }),
  );
}

/**
 * Formats a platform so that `parsePlatform` reads it back. Characters that a name cannot have are escaped, so it is
 * safe to print.
 */
export function formatPlatform(platform: Platform): string {
  const options = [platform.osVersion ?? '', ...(platform.osFeatures ?? [])].map(escape).join('+');
  const os = options === '' ? escape(platform.os) : `${escape(platform.os)}(${options})`;
  const parts = [os, escape(platform.architecture)];
  return (platform.variant === undefined ? parts : [...parts, escape(platform.variant)]).join('/');
}

function escape(text: string): string {
  return text.replace(/[^\w.-]/gu, (character) =>
    Buffer.from(character).toString('hex').toUpperCase().replace(/../g, '%$&'),
  );
}

/** One spelling per platform, containerd's: arm is arm/v7, while arm64/v8 and amd64/v1 have no variant. */
export function normalizePlatform(platform: Platform): Platform {
  const os = platform.os.toLowerCase();
  const [architecture, variant] = normalizeArchitecture(
    platform.architecture.toLowerCase(),
    platform.variant?.toLowerCase() ?? '',
  );
  const osFeatures = [...new Set(platform.osFeatures)].filter((feature) => feature !== '').sort();
  return defined({
    os: os === 'macos' ? 'darwin' : os,
    architecture,
    variant: variant === '' ? undefined : variant,
    osVersion: platform.osVersion === '' ? undefined : platform.osVersion,
    osFeatures: osFeatures.length === 0 ? undefined : osFeatures,
  });
}

function normalizeArchitecture(architecture: string, variant: string): [architecture: string, variant: string] {
  switch (architecture) {
    case 'i386':
      return ['386', ''];
    case 'x86_64':
    case 'x86-64':
    case 'amd64':
      return ['amd64', variant === 'v1' ? '' : variant];
    case 'aarch64':
    case 'arm64':
      return ['arm64', variant === '8' || variant === 'v8' ? '' : variant];
    case 'armhf':
      return ['arm', 'v7'];
    case 'armel':
      return ['arm', 'v6'];
    case 'arm':
      if (variant === '') return ['arm', 'v7'];
      return ['arm', /^[5-8]$/.test(variant) ? `v${variant}` : variant];
    default:
      return [architecture, variant];
  }
}

/**
 * Whether an image for `have` satisfies `wanted`. Variants must be equal: an engine may know that arm/v6 also runs on
 * v7, but a mirror does not guess. A wanted platform without OS features accepts any image; otherwise an image must not
 * need other features.
 */
export function matchesPlatform(wanted: Platform, have: Platform): boolean {
  const want = normalizePlatform(wanted);
  const has = normalizePlatform(have);
  return (
    want.os === has.os &&
    want.architecture === has.architecture &&
    want.variant === has.variant &&
    matchesVersion(want.osVersion, has.osVersion) &&
    (want.osFeatures === undefined || (has.osFeatures ?? []).every((feature) => want.osFeatures?.includes(feature)))
  );
}

/**
 * Windows containers run on any revision of the build that they were made for: of `10.0.17763.5576` the first three
 * numbers are compared, or fewer if the wanted version has fewer. An image that names no version fits every one, as in
 * containerd.
 */
function matchesVersion(wanted: string | undefined, have: string | undefined): boolean {
  if (wanted === undefined || have === undefined) return true;
  const numbers = have.split('.');
  return wanted
    .split('.')
    .slice(0, 3)
    .every((number, index) => number === numbers[index]);
}

/** The `platform` object of a descriptor or of an image config; `undefined` where it names neither part. */
export function readPlatform(place: Place): Platform | undefined {
  const os = place.at('os').optionalText();
  const architecture = place.at('architecture').optionalText();
  if (os === undefined && architecture === undefined) return undefined;
  return defined({
    os: os ?? 'unknown',
    architecture: architecture ?? 'unknown',
    variant: place.at('variant').optionalText(),
    osVersion: place.at('os.version').optionalText(),
    osFeatures: place
      .at('os.features')
      .optionalList(MAX_OS_FEATURES)
      ?.map((feature) => feature.text()),
  });
}
