import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ociLayout } from '../../../lib/archive/oci-layout.ts';
import { digestOf } from '../../../lib/oci/digest.ts';

test('keys are those that other tools and existing archives rely on', () => {
  const digest = digestOf(Buffer.from('x'));
  const hex = digest.slice('sha256:'.length);
  expect(ociLayout.blob(digest)).toBe(`blobs/sha256/${hex}`);
  expect(ociLayout.receipt(digest)).toBe(`.mirror/receipts/sha256/${hex}.json`);
  expect(ociLayout.tagIndex('docker.io/library/alpine')).toBe('repositories/docker.io/library/alpine/index.json');
  expect(ociLayout.marker('localhost:5000/app')).toEqual({
    key: 'repositories/localhost_5000/app/oci-layout',
    content: '{"imageLayoutVersion":"1.0.0"}',
  });
  expect(ociLayout.runReport('run-1', 'docker.io/library/alpine:3.20')).toMatch(
    /^\.mirror\/runs\/run-1\/[0-9a-f]{64}\.json$/,
  );
});

// The hosts include ports and an IPv6 address, and the paths include underscores that are not colons.
test('a repository and its key map to each other without collisions', () => {
  const host = fc.constantFrom('quay.io', 'localhost:5000', 'localhost', '[::1]:5000', '[::1]', 'a-b.example:1');
  const path = fc.stringMatching(/^[a-z0-9]{1,3}(?:(?:_|__|\.|-|\/)[a-z0-9]{1,3}){0,3}$/);
  const repository = fc.tuple(host, path).map((parts) => parts.join('/'));
  fc.assert(
    fc.property(repository, repository, (one, other) => {
      const key = ociLayout.tagIndex(one);
      expect(key).not.toContain(':');
      expect(key.startsWith(ociLayout.repositories)).toBe(true);
      expect(ociLayout.repositoryOf(key)).toBe(one);
      expect(ociLayout.repositoryOf(ociLayout.marker(one).key)).toBeUndefined();
      expect(key === ociLayout.tagIndex(other)).toBe(one === other);
    }),
  );
});

test('a key of any other form belongs to no repository', () => {
  for (const key of [
    'repositories/index.json',
    'repositories/host/index.json',
    'blobs/a/b/index.json',
    'repositories/a/b/x',
  ])
    expect(ociLayout.repositoryOf(key)).toBeUndefined();
});

test('a folder that is not named after a repository is not one, and its tag index is foreign', () => {
  for (const folder of [
    '..',
    '../x',
    'x.io/../y',
    'x.io/a//b',
    'docker.io/alpine',
    'x.io"\nlocation = "evil.example/a',
    'evil\u001B[2J.io/a',
    'x.io/\u202Ea',
    'X.io/a',
    'x.io/A',
    'x/a',
    `x.io/${'a/'.repeat(200)}a`,
  ]) {
    const keys = ['index.json', 'oci-layout'].map((file) => `repositories/${folder}/${file}`);
    const [index = '', marker = ''] = keys;
    expect([folder, ociLayout.repositoryOf(index), ociLayout.markedBy(marker)]).toEqual([folder, undefined, undefined]);
    expect([ociLayout.isForeignIndex(index), ociLayout.isForeignIndex(marker)]).toEqual([true, false]);
  }
  expect(ociLayout.isForeignIndex('repositories/x.io/a/index.json')).toBe(false);
});
