import { describe, expect, test } from 'vitest';
import { RegistryError } from '../../../lib/serve/errors.ts';
import { candidatesFor, requestName } from '../../../lib/serve/names.ts';
import { pageOf } from '../../../lib/serve/lists.ts';
import { routeOf } from '../../../lib/serve/routes.ts';
import { digest } from '../archive/observations.ts';

const DIGEST = digest('a');

function refusalOf(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    if (error instanceof RegistryError) return `${error.status} ${error.code}`;
    throw error;
  }
  return 'none';
}

describe('a route', () => {
  test.each([
    ['/v2/', { kind: 'base' }],
    ['/v2', { kind: 'base' }],
    ['/healthz', { kind: 'health' }],
    ['/v2/_catalog?n=3', { kind: 'catalog' }],
    ['/v2/docker.io/library/alpine/manifests/3.20', { kind: 'tag', name: 'docker.io/library/alpine', tag: '3.20' }],
    [`/v2/a.b/c/manifests/${DIGEST}`, { kind: 'manifest', name: 'a.b/c', digest: DIGEST }],
    [`/v2/a.b/c/blobs/${DIGEST.replace(':', '%3A')}`, { kind: 'blob', name: 'a.b/c', digest: DIGEST }],
    [`/v2/a.b/c/referrers/${DIGEST}?artifactType=x`, { kind: 'referrers', digest: DIGEST }],
    ['/v2/a.b/c/tags/list?ns=docker.io', { kind: 'tags', name: 'a.b/c', namespace: 'docker.io' }],
    ['/v2/a.b/manifests/manifests/manifests/x', { kind: 'tag', name: 'a.b/manifests/manifests', tag: 'x' }],
    ['/v2/a.b/tags/list/tags/list', { kind: 'tags', name: 'a.b/tags/list' }],
    [
      '/v2/at-20260131t120000z/a.b/c/manifests/x',
      { kind: 'tag', name: 'a.b/c', asOf: Date.parse('2026-01-31T12:00:00Z') },
    ],
    ['/v2/at-20260131/a.b/c/tags/list', { kind: 'tags', name: 'a.b/c', asOf: Date.parse('2026-01-31T23:59:59.999Z') }],
    ['/', { kind: 'page', image: undefined, address: '/' }],
    ['/at-20260131', { kind: 'page', image: undefined, address: '/', asOf: Date.parse('2026-01-31T23:59:59.999Z') }],
    ['/a.b/c', { kind: 'page', address: '/a.b/c', image: { name: 'a.b/c', tag: undefined, digest: undefined } }],
    ['/a.b/c:1', { kind: 'page', address: '/a.b/c:1', image: { name: 'a.b/c', tag: '1' } }],
    [`/a.b/c:1%40${DIGEST}`, { kind: 'page', address: `/a.b/c@${DIGEST}`, image: { digest: DIGEST, tag: undefined } }],
    ['/at-20260131/a.b/c', { kind: 'page', address: '/a.b/c', image: { name: 'a.b/c' } }],
    // This is a name, because it is not an instant.
    ['/v2/at-home/c/manifests/x', { kind: 'tag', name: 'at-home/c', asOf: undefined }],
  ])('%s is read', (target, route) => {
    expect(routeOf(target)).toMatchObject(route);
  });

  test.each([
    ['//', '404 UNSUPPORTED'],
    ['/v1/', '404 UNSUPPORTED'],
    ['http://other.example/v2/', '404 UNSUPPORTED'],
    ['/v2/../v2/', '404 UNSUPPORTED'],
    ['/v2/x', '404 UNSUPPORTED'],
    ['/v2/a/blobs/uploads/', '404 UNSUPPORTED'],
    ['/v2//manifests/x', '400 NAME_INVALID'],
    ['/v2/a//b/manifests/x', '400 NAME_INVALID'],
    ['/v2/a/../b/manifests/x', '400 NAME_INVALID'],
    ['/v2/a/./b/manifests/x', '400 NAME_INVALID'],
    ['/v2/a%2Fb/manifests/x', '400 NAME_INVALID'],
    ['/v2/a%2e%2e/b/manifests/x', '400 NAME_INVALID'],
    ['/v2/a%00/manifests/x', '400 NAME_INVALID'],
    ['/v2/a\u0000/manifests/x', '400 NAME_INVALID'],
    ['/v2/a\n/manifests/x', '400 NAME_INVALID'],
    ['/v2/A/manifests/x', '400 NAME_INVALID'],
    ['/v2/a\\b/manifests/x', '400 NAME_INVALID'],
    ['/v2/a/index.json/../b/tags/list', '400 NAME_INVALID'],
    ['/v2/at-20260230/a/manifests/x', '400 NAME_INVALID'],
    [`/v2/${'a'.repeat(256)}/manifests/x`, '400 NAME_INVALID'],
    [`/v2/${'a'.repeat(10_000)}/manifests/x`, '400 NAME_INVALID'],
    ['/v2/a/manifests/.x', '400 TAG_INVALID'],
    ['/v2/a/manifests/x%20y', '400 TAG_INVALID'],
    [`/v2/a/manifests/${'x'.repeat(129)}`, '400 TAG_INVALID'],
    ['/v2/a/manifests/sha256:abc', '400 DIGEST_INVALID'],
    ['/v2/a/blobs/latest', '400 DIGEST_INVALID'],
    [`/v2/a/blobs/${DIGEST.toUpperCase()}`, '400 DIGEST_INVALID'],
    ['/v2/a/blobs/md5:d41d8cd98f00b204e9800998ecf8427e', '400 DIGEST_INVALID'],
  ])('%j is refused with %s', (target, refusal) => {
    expect(refusalOf(() => routeOf(target))).toBe(refusal);
  });
});

describe('a name', () => {
  const of = (name: string, namespace?: string, defaultHost?: string): readonly string[] =>
    candidatesFor(name, { namespace, defaultHost });

  test.each([
    [['docker.io/library/alpine'], ['docker.io/library/alpine']],
    [['docker.io/alpine'], ['docker.io/library/alpine']],
    [['registry.example.com_5000/team/app'], ['registry.example.com:5000/team/app']],
    [['localhost_5000/app'], ['localhost:5000/app']],
    [['localhost/app'], ['localhost/app']],
    [['library/alpine', 'docker.io'], ['docker.io/library/alpine']],
    [['alpine', 'docker.io'], ['docker.io/library/alpine']],
    [['alpine', 'registry-1.docker.io'], ['docker.io/library/alpine']],
    [['team/app', 'registry.example.com:5000'], ['registry.example.com:5000/team/app']],
    [['library/alpine', undefined, 'docker.io'], ['docker.io/library/alpine']],
    [['alpine', undefined, 'docker.io'], ['docker.io/library/alpine']],
    [
      ['quay.io/app', undefined, 'docker.io'],
      ['quay.io/app', 'docker.io/quay.io/app'],
    ],
    [
      ['quay.io/app', 'docker.io'],
      ['docker.io/quay.io/app', 'quay.io/app'],
    ],
    [['library/alpine'], []],
    [['alpine'], []],
    // A reserved name in the archive.
    [['docker.io/team/blobs'], []],
  ] as const)('%j is looked up as %j', ([name, namespace, defaultHost], candidates) => {
    expect(of(name, namespace, defaultHost)).toEqual(candidates);
  });

  test.each(['', '../x', 'a/b', 'docker', 'docker.io/../x', 'a\u0000.b'])(
    'the namespace %j is refused',
    (namespace) => {
      expect(refusalOf(() => of('library/alpine', namespace))).toBe('400 NAME_INVALID');
    },
  );

  test('of a repository has its port after an underscore', () => {
    expect(requestName('registry.example.com:5000/team/app')).toBe('registry.example.com_5000/team/app');
    expect(requestName('docker.io/library/alpine')).toBe('docker.io/library/alpine');
    expect(requestName('[::1]:5000/app')).toBeUndefined();
  });
});

describe('a page', () => {
  const names = ['a', 'b', 'c', 'd'];
  const page = (query: string): unknown => pageOf(names, new URLSearchParams(query), '/v2/x/tags/list');

  test.each([
    ['', names, undefined],
    ['n=4', names, undefined],
    ['n=9', names, undefined],
    ['n=2', ['a', 'b'], '</v2/x/tags/list?n=2&last=b>; rel="next"'],
    ['n=2&last=b', ['c', 'd'], undefined],
    ['n=1&last=b', ['c'], '</v2/x/tags/list?n=1&last=c>; rel="next"'],
    ['n=2&last=bb', ['c', 'd'], undefined],
    ['last=d', [], undefined],
    ['last=zzz', [], undefined],
    ['n=0', [], undefined],
    ['n=1&ns=docker.io', ['a'], '</v2/x/tags/list?ns=docker.io&n=1&last=a>; rel="next"'],
  ])('of four names with %j', (query, expected, link) => {
    expect(page(query)).toEqual({ names: expected, link });
  });

  test.each(['n=-1', 'n=x', 'n=1.5', 'n=', 'n=1e3', 'n=99999999999'])('%s is refused', (query) => {
    expect(refusalOf(() => page(query))).toBe('400 PAGINATION_NUMBER_INVALID');
  });

  test('has 10,000 names at most', () => {
    const many = Array.from({ length: 25_000 }, (_, n) => String(n).padStart(5, '0'));
    const seen: string[] = [];
    let query = 'n=20000';
    for (let pages = 0; pages < 3; pages += 1) {
      const { names: some, link } = pageOf(many, new URLSearchParams(query), '/p');
      seen.push(...some);
      expect(some.length).toBeLessThanOrEqual(10_000);
      query = /\?(.*)>/.exec(link ?? '')?.[1] ?? '';
    }
    expect(seen).toEqual(many);
    expect(query).toBe('');
  });

  test('has 512 KiB of JSON at most, and the next page continues', () => {
    const many = Array.from({ length: 5_000 }, (_, n) => String(n).padStart(200, '0'));
    const { names: first, link } = pageOf(many, new URLSearchParams(), '/p');
    expect(JSON.stringify(first).length).toBeLessThanOrEqual(512 * 1024);
    expect(first.length).toBeGreaterThan(2_500);
    const { names: second } = pageOf(many, new URLSearchParams(/\?(.*)>/.exec(link ?? '')?.[1]), '/p');
    expect([...first, ...second]).toEqual(many);
  });
});
