import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  formatReference,
  formatRepository,
  isTag,
  parseReference,
  parseRepository,
  withDefaultTag,
} from '../../../lib/oci/reference.ts';
import { DIGEST, failureOf, onlyFailures, references } from './arbitraries.ts';

const SHA512 = `sha512:${'0f'.repeat(64)}`;
const LONGEST = `example.com/${'a/'.repeat(121)}b`;

describe('reference', () => {
  // These are the grammar and the rules of Docker.
  test.each([
    // Docker Hub, with and without its users and aliases.
    ['alpine', 'docker.io/library/alpine'],
    ['alpine:3.20', 'docker.io/library/alpine:3.20'],
    ['bitnami/redis', 'docker.io/bitnami/redis'],
    ['docker.io/alpine', 'docker.io/library/alpine'],
    ['DOCKER.IO/alpine', 'docker.io/library/alpine'],
    ['index.docker.io/alpine', 'docker.io/library/alpine'],
    ['registry-1.docker.io/library/alpine:edge', 'docker.io/library/alpine:edge'],
    ['library/a/b', 'docker.io/library/a/b'],
    ['test_com/foo', 'docker.io/test_com/foo'],
    ['dock__er/a---b.c_d', 'docker.io/dock__er/a---b.c_d'],
    // Without a slash the text has no host: a number after the colon is a tag.
    ['localhost', 'docker.io/library/localhost'],
    ['localhost:5000', 'docker.io/library/localhost:5000'],
    ['example.com', 'docker.io/library/example.com'],
    ['192.168.1.1:80', 'docker.io/library/192.168.1.1:80'],
    // Hosts.
    ['localhost/alpine', 'localhost/alpine'],
    ['LOCALHOST/alpine', 'localhost/alpine'],
    ['localhost:5000/alpine', 'localhost:5000/alpine'],
    ['registry:5000/alpine', 'registry:5000/alpine'],
    ['Registry.Example.COM/team/app:V1', 'registry.example.com/team/app:V1'],
    ['sub-dom1.foo.com/bar/baz/quux:some-long-tag', 'sub-dom1.foo.com/bar/baz/quux:some-long-tag'],
    ['b.gcr.io/test.example.com/my-app:test.example.com', 'b.gcr.io/test.example.com/my-app:test.example.com'],
    ['xn--n3h.com:18080/myimage:xn--n3h.com', 'xn--n3h.com:18080/myimage:xn--n3h.com'],
    ['192.168.1.1/repo', '192.168.1.1/repo'],
    ['127.0.0.1:8000/private/moonbase', '127.0.0.1:8000/private/moonbase'],
    ['[2001:DB8::1]:5000/repo:tag', '[2001:db8::1]:5000/repo:tag'],
    ['[fc00:1:2:3:4:5:6:7]/library/debian', '[fc00:1:2:3:4:5:6:7]/library/debian'],
    // Digests and identifiers.
    [`alpine@${DIGEST}`, `docker.io/library/alpine@${DIGEST}`],
    [`alpine:3.20@${DIGEST}`, `docker.io/library/alpine:3.20@${DIGEST}`],
    [`localhost:5000/a/b:_.-@${SHA512}`, `localhost:5000/a/b:_.-@${SHA512}`],
    [`docker.io/${'1a'.repeat(32)}`, `docker.io/library/${'1a'.repeat(32)}`],
    ['1a'.repeat(31), `docker.io/library/${'1a'.repeat(31)}`],
  ])('%s is normalised to %s', (text, normalised) => {
    const reference = parseReference(text);
    expect(formatReference(reference)).toBe(normalised);
    expect(parseReference(normalised)).toEqual(reference);
  });

  test('is parsed to host, path, tag and digest', () => {
    expect(parseReference(`localhost:5000/team/app:v1@${DIGEST}`)).toEqual({
      host: 'localhost:5000',
      path: 'team/app',
      tag: 'v1',
      digest: DIGEST,
    });
    expect(parseReference('alpine')).toEqual({ host: 'docker.io', path: 'library/alpine' });
  });

  test.each([
    ['', 'it is empty'],
    [' alpine', 'white space'],
    ['alpine\n', 'white space'],
    ['https://github.com/docker/docker', 'it has a scheme'],
    ['1a3f5e7d9c1b3a5f7e9d1c3b5a7f9e1d3c5b7a9f1e3d5d7c9b1a3f5e7d9c1b3a', 'it is an image id'],
    [':justtag', 'part of its path is empty'],
    [`@${DIGEST}`, 'part of its path is empty'],
    ['docker/', 'part of its path is empty'],
    ['/docker', 'part of its path is empty'],
    ['docker///docker', 'part of its path is empty'],
    ['localhost:5000/', 'part of its path is empty'],
    ['docker/Docker', '"Docker" has upper-case letters'],
    ['test:5000/Uppercase/lowercase:tag', '"Uppercase" has upper-case letters'],
    ['Alpine', '"Alpine" has upper-case letters'],
    ['Docker/docker', 'write docker for Docker Hub, or docker:443'],
    ['-docker', '"-docker" is not a valid part of a name'],
    ['docker-/docker', '"docker-" is not a valid part of a name'],
    ['____/____', 'is not a valid part of a name'],
    ['dock..er/docker', '"dock..er" is not a host'],
    ['dock_.er/docker', 'is not a host'],
    ['foo/a..b', '"a..b" is not a valid part of a name'],
    ['foo/a___b', 'is not a valid part of a name'],
    ['foo/../bar', '".." is not a valid part of a name'],
    ['./foo', '"." is not a host'],
    ['../foo', '".." is not a host'],
    ['aa/asdf$$^/aa', 'is not a valid part of a name'],
    ['foo/ünïcode', 'is not a valid part of a name'],
    ['-docker.io/docker', 'is not a host'],
    ['foo_bar.com/x', 'is not a host'],
    ['localhost:/x', 'is not a host'],
    ['localhost:x/x', 'is not a host'],
    ['localhost:0/x', 'is not a host'],
    ['localhost:05000/x', 'is not a host'],
    ['localhost:65536/x', 'is not a host'],
    ['256.1.1.1/x', 'is not a host'],
    ['fc00::1:5000/debian', 'is not a host'],
    ['[fc00::1', 'is not a valid part of a name'],
    ['[fc00::1]', 'is not a valid part of a name'],
    ['[:::]/x', 'is not a host'],
    ['[fe80::1%eth0]:5000/debian', 'is not a host'],
    ['[2001:db8:3:4::192.0.2.33]:5000/debian', 'is not a host'],
    ['alpine:', '"" is not a tag'],
    ['alpine:-x', 'is not a tag'],
    ['alpine:.x', 'is not a tag'],
    ['alpine:a:b', 'is not a tag'],
    ['alpine:a/b', 'is not a host'],
    ['foo/alpine:a/b', 'is not a tag'],
    [`alpine:${'t'.repeat(129)}`, 'is not a tag'],
    ['alpine@', 'is not a digest'],
    ['alpine@sha256:ffffffffffffffffffffffffffffffffff', 'has 34 characters after sha256:'],
    [`alpine@md5:${'f'.repeat(32)}`, 'names the digest algorithm "md5"'],
    [`alpine@${DIGEST}@${DIGEST}`, 'has 136 characters'],
    [`alpine@${DIGEST}:tag`, 'characters after sha256:'],
    ['team/index.json', '"index.json" is a reserved name'],
    ['localhost/oci-layout/app', '"oci-layout" is a reserved name'],
    ['ghcr.io/team/blobs', '"blobs" is a reserved name'],
    ['ghcr.io/team/blobs/app', '"blobs" is a reserved name'],
    ['blobs', '"blobs" is a reserved name'],
  ])('%j is refused: %s', (text, detail) => {
    const failure = failureOf(() => parseReference(text));
    expect(failure).toMatchObject({ code: 'invalid', side: 'input', remedy: 'never' });
    expect(failure.operation).toMatch(/^parse reference "/);
    expect(failure.detail).toContain(detail);
  });

  test('may be as long as the longest name, tag and digest, and no longer', () => {
    const longest = `${LONGEST}:${'t'.repeat(128)}@${SHA512}`;
    expect(formatReference(parseReference(longest))).toBe(longest);
    const detail = (text: string): string => failureOf(() => parseReference(text)).detail;
    expect(detail(`${LONGEST}c`)).toBe('expected a name of at most 255 characters, got 256');
    // The limit applies to the normalised name.
    expect(detail(LONGEST.replace('example.com/', 'example/'))).toBe(
      'expected a name of at most 255 characters, got 261',
    );
    expect(detail('a'.repeat(1000))).toMatch(/^it is longer than/);
  });

  test('keeps its text when it is parsed again', () => {
    fc.assert(
      fc.property(references, (reference) => {
        expect(parseReference(formatReference(reference))).toEqual(reference);
        const { host, path } = reference;
        expect(parseRepository(formatRepository(reference))).toEqual({ host, path });
      }),
    );
  });

  // Names become object keys and folder paths.
  test('is stable after normalisation, within its limits, and without dot components', () => {
    const pieces = fc.constantFrom(
      'a',
      'Z',
      '0',
      '.',
      '..',
      '-',
      '_',
      '/',
      ':',
      '@',
      '[',
      ']',
      'localhost',
      '%',
      '\\',
      DIGEST,
    );
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string({ unit: 'binary' }),
          fc.array(pieces, { maxLength: 9 }).map((all) => all.join('')),
        ),
        (text) => {
          onlyFailures(() => {
            const reference = parseReference(text);
            const formatted = formatReference(reference);
            expect(formatReference(parseReference(formatted))).toBe(formatted);
            expect(formatRepository(reference).length).toBeLessThanOrEqual(255);
            expect(formatRepository(reference).split('/')).not.toContain('..');
            expect(formatRepository(reference)).toMatch(/^[a-z0-9.:[\]-]+(\/[a-z0-9._-]+)+$/);
            expect(URL.canParse(`https://${reference.host}/v2/${reference.path}/`)).toBe(true);
          });
        },
      ),
      { numRuns: 1000 },
    );
  });

  test('gets the tag latest only if it has neither a tag nor a digest', () => {
    expect(formatReference(withDefaultTag(parseReference('alpine')))).toBe('docker.io/library/alpine:latest');
    expect(withDefaultTag(parseReference('alpine:3.20')).tag).toBe('3.20');
    expect(withDefaultTag(parseReference(`alpine@${DIGEST}`))).not.toHaveProperty('tag');
  });

  test('parseRepository refuses a tag and a digest', () => {
    expect(parseRepository('index.docker.io/alpine')).toEqual({ host: 'docker.io', path: 'library/alpine' });
    expect(failureOf(() => parseRepository('localhost:5000')).message).toContain(
      'it has the tag "5000" after its name',
    );
    expect(failureOf(() => parseRepository(`alpine@${DIGEST}`)).message).toContain('it has a digest after its name');
  });

  test.each([
    ['latest', true],
    ['_', true],
    ['1.0-rc.1', true],
    ['', false],
    ['-a', false],
    ['a/b', false],
    ['a\n', false],
    ['ä', false],
  ])('isTag(%j) is %s', (text, expected) => {
    expect(isTag(text)).toBe(expected);
  });
});
