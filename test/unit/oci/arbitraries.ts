import fc from 'fast-check';
import { Failure } from '../../../lib/core/failure.ts';
import { toDigest, type Digest } from '../../../lib/oci/digest.ts';
import { normalizePlatform, type Platform } from '../../../lib/oci/platform.ts';
import { defined } from '../../../lib/core/defined.ts';
import type { Reference } from '../../../lib/oci/reference.ts';

export const DIGEST = `sha256:${'0123456789abcdef'.repeat(4)}` as Digest;
export const OTHER_DIGEST = `sha256:${'f'.repeat(64)}` as Digest;

/** The Failure that `work` throws; any other result fails the test. */
export function failureOf(work: () => unknown): Failure {
  try {
    work();
  } catch (thrown) {
    if (thrown instanceof Failure) return thrown;
    throw thrown;
  }
  throw new Error('nothing was thrown');
}

/** Runs a parser that may refuse its input, but only with a permanent and printable Failure. */
export function onlyFailures(work: () => unknown): void {
  try {
    work();
  } catch (thrown) {
    if (!(thrown instanceof Failure)) throw new Error('threw something else than a Failure', { cause: thrown });
    if (thrown.remedy !== 'never' || thrown.side !== 'input') throw new Error(`would be retried: ${thrown.message}`);

    if (/[\u0000-\u001f\u007f-\u009f]/.test(thrown.message)) throw new Error(`has controls: ${thrown.message}`);
    if (thrown.message.length > 2000) throw new Error(`too long to print: ${thrown.message.length}`);
  }
}

const hex = (length: number): fc.Arbitrary<string> =>
  fc.string({ unit: fc.constantFrom(...'0123456789abcdef'.split('')), minLength: length, maxLength: length });

export const digests: fc.Arbitrary<Digest> = fc.oneof(
  hex(64).map((digits) => toDigest('sha256', digits)),
  hex(128).map((digits) => toDigest('sha512', digits)),
);

const label = fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,6}[a-z0-9])?$/);
const host = fc
  .tuple(
    fc.oneof(
      fc.tuple(label, fc.constantFrom('com', 'example', 'io')).map((labels) => labels.join('.')),
      fc.constantFrom('localhost', '127.0.0.1', '[::1]', '[2001:db8::1]', 'docker.io'),
    ),
    fc.option(fc.integer({ min: 1, max: 65_535 }), { nil: undefined }),
  )
  .map(([name, port]) => (port === undefined ? name : `${name}:${port}`))
  // A label such as xn--9 is a broken internationalised name.
  .filter((name) => !name.startsWith('xn--') && !['index.docker.io', 'registry-1.docker.io'].includes(name));
const component = fc.stringMatching(/^[a-z0-9]{1,4}((\.|_|__|-{1,3})[a-z0-9]{1,4}){0,3}$/);
const path = fc.array(component, { minLength: 2, maxLength: 5 }).map((components) => components.join('/'));

/** References as `parseReference` returns them. */
export const references: fc.Arbitrary<Reference> = fc
  .record({
    host,
    path,
    tag: fc.option(fc.stringMatching(/^\w[\w.-]{0,127}$/), { nil: undefined }),
    digest: fc.option(digests, { nil: undefined }),
  })
  .map(defined);

const anyName = fc.stringMatching(/^[a-z0-9][a-z0-9_-]{0,8}$/);
/** Platforms as `parsePlatform` returns them; versions and features may have any character. */
export const platforms: fc.Arbitrary<Platform> = fc
  .record({
    os: fc.oneof(fc.constantFrom('linux', 'windows', 'macos'), anyName),
    architecture: fc.oneof(fc.constantFrom('amd64', 'x86_64', 'arm', 'arm64', 'armel', '386'), anyName),
    variant: fc.option(fc.oneof(fc.constantFrom('v1', 'v5', '6', 'v7', 'v8', '8'), anyName), { nil: undefined }),
    osVersion: fc.option(fc.string({ unit: 'binary' }), { nil: undefined }),
    osFeatures: fc.option(fc.array(fc.string({ unit: 'grapheme' }), { maxLength: 3 }), { nil: undefined }),
  })
  .map((fields) => normalizePlatform(defined(fields)));

export function bytesOf(document: unknown): Uint8Array {
  return new TextEncoder().encode(typeof document === 'string' ? document : JSON.stringify(document));
}
