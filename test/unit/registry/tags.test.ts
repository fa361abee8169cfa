import { expect, test } from 'vitest';
import type { Source } from '../../../lib/registry/source.ts';
import { makeImage } from '../../kit/images.ts';
import { errorBody, startRegistry, type RegistryOptions, type TestRegistry } from '../../kit/registry.ts';
import { failureOf, testSources } from './helpers.ts';

const REPOSITORY = 'library/alpine';
const TAGS = ['1', '2', '3', '4', '5'];

async function registryWithTags(options?: RegistryOptions): Promise<TestRegistry> {
  const registry = await startRegistry(options);
  const image = makeImage({ layers: [] });
  for (const tag of TAGS) registry.push(REPOSITORY, image, tag);
  return registry;
}

async function pages(source: Source, signal?: AbortSignal): Promise<(readonly string[])[]> {
  const all: (readonly string[])[] = [];
  for await (const page of source.tags({ signal })) all.push(page);
  return all;
}

test("returns tags page by page, in the registry's order", async () => {
  await using registry = await registryWithTags({ pageSize: 2 });
  await using sources = testSources();
  expect(await pages(sources.at(registry.host))).toEqual([['1', '2'], ['3', '4'], ['5']]);
  expect(registry.requests.map(({ path }) => path)).toEqual([
    '/v2/library/alpine/tags/list?n=1000',
    '/v2/library/alpine/tags/list?last=2&n=2',
    '/v2/library/alpine/tags/list?last=4&n=2',
  ]);
});

test('lists the tags of a repository for which the registry requires a token', async () => {
  await using registry = await registryWithTags({ auth: { kind: 'bearer' } });
  await using sources = testSources();
  expect(await pages(sources.at(registry.host))).toEqual([TAGS]);
});

test('requests a page only when the caller asks for it', async () => {
  await using registry = await registryWithTags({ pageSize: 2 });
  await using sources = testSources();
  for await (const page of sources.at(registry.host).tags()) {
    expect(page).toEqual(['1', '2']);
    break;
  }
  expect(registry.count()).toBe(1);
});

test('retries a page that fails temporarily', async () => {
  await using registry = await registryWithTags({ pageSize: 2 });
  await using sources = testSources();
  registry.misbehave({ after: 1, times: 1, do: { status: 503 } });
  expect((await pages(sources.at(registry.host))).flat()).toEqual(TAGS);
  // The waits are the pause, and then the pace of the registry.
  expect(sources.waits).toEqual([100, 100]);
});

test('requests a further page from the endpoint that linked to it, and defers no other endpoint', async () => {
  await using mirror = await registryWithTags({ pageSize: 2 });
  await using upstream = await registryWithTags();
  await using sources = testSources({ endpoints: { 'docker.io': [mirror.host, upstream.host] } });
  const source = sources.at('docker.io');
  const rule = mirror.misbehave({ after: 1, do: { status: 503 } });
  await failureOf(pages(source), 'unavailable');
  const [first, ...further] = mirror.requests.map(({ path }) => path);
  expect(first).toContain('?n=1000');
  expect(new Set(further)).toEqual(new Set(['/v2/library/alpine/tags/list?last=2&n=2']));
  rule.stop();
  sources.advance(30_000);
  // Only the mirror is deferred, so the next list starts with the other endpoint.
  expect(await pages(source)).toEqual([TAGS]);
  expect(upstream.count()).toBe(1);
});

test('asks the next endpoint without a wait if the first one limits its requests', async () => {
  await using mirror = await registryWithTags();
  await using upstream = await registryWithTags();
  await using sources = testSources({ endpoints: { 'docker.io': [mirror.host, upstream.host] } });
  mirror.misbehave({ do: { status: 429, headers: { 'retry-after': '9999' } } });
  expect(await pages(sources.at('docker.io'))).toEqual([TAGS]);
  expect(sources.waits).toEqual([]);
  expect([mirror.count(), upstream.count()]).toEqual([1, 1]);
});

// Some registries answer null.
test('returns one empty page for a repository without tags', async () => {
  await using registry = await registryWithTags();
  await using sources = testSources();
  registry.misbehave({ do: { status: 200, body: { name: REPOSITORY, tags: null } } });
  expect(await pages(sources.at(registry.host))).toEqual([[]]);
});

// Registries behind a proxy use other names in links, and hostile ones link to other hosts.
test.each([
  ['the same host over TLS', 'https://HOST/v2/library/alpine/tags/list?last=2&n=2'],
  ['an internal name', 'http://registry.internal:8081/v2/docker/alpine/tags/list?last=2&n=2'],
  ['another host', 'https://elsewhere.example/v2/library/alpine/tags/list?last=2&n=2'],
  ['another host in the path', 'http://HOST//elsewhere.example/v2/library/alpine/tags/list?last=2&n=2'],
  ['a host without a scheme', '//elsewhere.example/v2/library/alpine/tags/list?last=2&n=2'],
  ['a backslash', '/\\\\elsewhere.example/v2/library/alpine/tags/list?last=2&n=2'],
  ['another repository', '/repository/NAME/v2/library/alpine/tags/list?last=2&n=2'],
  ['a relative path', 'alpine/tags/list?last=2&n=2'],
  ['credentials', 'http://user:password@HOST/?last=2&n=2'],
  ['another port', 'http://127.0.0.1:1/v2/library/alpine/tags/list?last=2&n=2'],
  ['a query alone', '?last=2&n=2'],
  ['what is not a URL', 'http://[?last=2&n=2'],
])('uses only the query of a link to %s, with the path that worked', async (_, target) => {
  await using registry = await registryWithTags({ pageSize: 2 });
  await using sources = testSources();
  const link = `<${target.replaceAll('HOST', registry.host)}>; rel="next"`;
  registry.misbehave({ times: 1, do: { headers: { link } } });
  expect(await pages(sources.at(registry.host))).toEqual([['1', '2'], ['3', '4'], ['5']]);
  expect(registry.requests.map(({ path }) => path)).toEqual([
    '/v2/library/alpine/tags/list?n=1000',
    '/v2/library/alpine/tags/list?last=2&n=2',
    '/v2/library/alpine/tags/list?last=4&n=2',
  ]);
});

// Other tools read all tags of registries that send such links.
test.each([
  ['no relation', '<TARGET>'],
  ['an empty relation', '<TARGET>; rel=""'],
  ['single quotes', "<TARGET>; rel='next'"],
  ['a quote that is not closed', '<TARGET>; rel="next'],
  ['escaped quotes', String.raw`<TARGET>;rel=\"next\"`],
  ['no angle brackets', 'TARGET; rel="next"'],
  ['a title with a relation before it', '<TARGET>; title="x; rel=prev"; rel="next"'],
  ['a relation in another character set before it', "<TARGET>; rel*=UTF-8''prev; rel=next"],
  ['an earlier link without a relation', '</docs?x>, <TARGET>; rel=next'],
  ['no relation, and an earlier link to another page', '</docs?x>, <TARGET>'],
])('follows a link with %s', async (_, link) => {
  await using registry = await registryWithTags({ pageSize: 2 });
  await using sources = testSources();
  for (const [after, last] of ['2', '4'].entries()) {
    const target = `/v2/library/alpine/tags/list?last=${last}&n=2`;
    registry.misbehave({ after, times: 1, do: { headers: { link: link.replace('TARGET', target) } } });
  }
  expect(await pages(sources.at(registry.host))).toEqual([['1', '2'], ['3', '4'], ['5']]);
});

test.each([
  ['without a query', '</v2/library/alpine/tags/page/2>; rel="next"'],
  ['that cannot be read', '</v2/library/alpine/tags/list?last=2'],
  ['with an open quote before its relation', '<?last=2>; title="x; rel="next"'],
])('refuses a link %s, because tags would be missing', async (_, link) => {
  await using registry = await registryWithTags({ pageSize: 2 });
  await using sources = testSources();
  registry.misbehave({ do: { headers: { link } } });
  const { message } = await failureOf(pages(sources.at(registry.host)), 'invalid');
  expect(message).toContain(`${registry.host} sent a Link header without the query of the next page`);
  expect(registry.requests).toHaveLength(1);
});

test.each([
  [400, errorBody('TOO_MANY_TAGS_REQUESTED', 'requested limit 1000 is too high, max is 100')],
  [400, errorBody('PAGINATION_NUMBER_INVALID', 'invalid number of results requested')],
  [400, '<html>'],
  [405, errorBody('UNSUPPORTED', 'no')],
  [414, ''],
  [422, '{}'],
])('omits the page size after it is refused with %i', async (status, body) => {
  await using registry = await registryWithTags({ pageSize: 2 });
  await using sources = testSources();
  registry.misbehave({ times: 1, do: { status, body } });
  expect((await pages(sources.at(registry.host))).flat()).toEqual(TAGS);
  const lists = registry.requests.filter(({ kind }) => kind === 'tags');
  expect(lists.slice(0, 2).map(({ path }) => path)).toEqual([
    '/v2/library/alpine/tags/list?n=1000',
    '/v2/library/alpine/tags/list',
  ]);
});

test.each([500, 502])('omits the page size if the registry fails with %i because of it', async (status) => {
  await using registry = await registryWithTags({ pageSize: 2 });
  await using sources = testSources();
  registry.misbehave({ times: 1, do: { status } });
  expect((await pages(sources.at(registry.host))).flat()).toEqual(TAGS);
  expect(registry.requests[1]?.path).toBe('/v2/library/alpine/tags/list');
  expect(sources.waits).toEqual([]);
});

test.each([401, 403, 404])('does not omit the page size after the list is refused with %i', async (status) => {
  await using registry = await registryWithTags();
  await using sources = testSources();
  registry.misbehave({ match: { kind: 'tags' }, do: { status, body: errorBody('DENIED', 'no') } });
  await failureOf(pages(sources.at(registry.host)));
  expect(registry.count({ kind: 'tags' })).toBe(1);
});

test.each([
  [1000, 200],
  [0, 2000],
])('refuses endless pages of %i tags after %i of them', async (size, most) => {
  await using registry = await registryWithTags();
  await using sources = testSources();
  for (let page = 0; page <= most; page += 1) {
    const tags = Array.from({ length: size }, (_, n) => `p${page}t${n}`);
    const headers = { link: `</v2/a/b/tags/list?last=${page}>; rel="next"`, 'content-type': 'application/json' };
    registry.misbehave({ after: page, times: 1, do: { status: 200, body: { name: REPOSITORY, tags }, headers } });
  }
  let count = 0;
  const listing = (async () => {
    for await (const page of sources.at(registry.host).tags()) count += page.length;
  })();
  const failure = await failureOf(listing, 'too-large');
  expect(failure.detail).toContain('more than 200000 tags');
  expect([count, registry.count()]).toEqual([size * most, most + 1]);
});

test.each([1, 2, 7])('detects a loop of %i pages', async (length) => {
  await using registry = await registryWithTags();
  await using sources = testSources();
  for (let page = 0; page < 100; page += 1) {
    const link = `</v2/library/alpine/tags/list?last=${page % length}>; rel="next"`;
    registry.misbehave({ after: page, times: 1, do: { headers: { link } } });
  }
  const failure = await failureOf(pages(sources.at(registry.host)), 'invalid');
  expect(failure.detail).toContain('repeats a page');
  expect(registry.count()).toBeLessThan(40);
});

test.each([
  ['a field in another case', '{"Name":"x","Tags":["1","2"]}'],
  ['a repeated field', '{"tags":["0"],"name":"x","tags":["1","2"]}'],
  ['tags without a name', '{"tags":["1",null,"2"]}'],
])('reads a list with %s as other clients do', async (_, body) => {
  await using registry = await registryWithTags();
  await using sources = testSources();
  registry.misbehave({ do: { status: 200, body } });
  expect(await pages(sources.at(registry.host))).toEqual([['1', '2']]);
});

test('refuses errors instead of a list of tags, although their status is a success', async () => {
  await using registry = await registryWithTags();
  await using sources = testSources();
  registry.misbehave({ do: { status: 200, body: errorBody('UNAUTHORIZED', 'log in') } });
  const failure = await failureOf(pages(sources.at(registry.host)), 'invalid');
  expect(failure.detail).toBe(`${registry.host} sent an invalid list of tags (it has errors instead of tags)`);
});

test('refuses a response that is not a list of tags', async () => {
  await using registry = await registryWithTags();
  await using sources = testSources();
  for (const body of ['<html>', '[]', 'null', '{"tags":{}}', '{"tags":[1]}']) {
    const rule = registry.misbehave({ do: { status: 200, body } });
    await failureOf(pages(sources.at(registry.host)), 'invalid');
    rule.stop();
  }
});

test('refuses a page that is too large for the memory', async () => {
  await using registry = await registryWithTags();
  await using sources = testSources();
  registry.misbehave({ do: { status: 200, body: Buffer.alloc(32 * 1024 * 1024 + 1, ' ').toString() } });
  const failure = await failureOf(pages(sources.at(registry.host)), 'too-large');
  expect(failure.detail).toBe(`${registry.host} sent a page of more than 33554432 bytes`);
});

test('refuses a page whose ignored fields would fill the memory, and lists one with as many tags as are allowed', async () => {
  await using registry = await registryWithTags();
  await using sources = testSources();
  const source = sources.at(registry.host);
  registry.misbehave({ times: 1, do: { status: 200, body: `{"tags":["1"],"x":[${'{},'.repeat(200_000)}0]}` } });
  const failure = await failureOf(pages(source), 'too-large');
  expect(failure.detail).toBe(
    `${registry.host} sent an invalid list of tags (it has more than 250000 keys and values)`,
  );
  const tags = Array.from({ length: 200_000 }, (_, n) => `t${n}`);
  registry.misbehave({ times: 1, do: { status: 200, body: { tags } } });
  expect((await pages(source)).flat()).toHaveLength(200_000);
});

test('reports a missing repository', async () => {
  await using registry = await registryWithTags();
  await using sources = testSources();
  const missing = await failureOf(pages(sources.at(registry.host, 'library/nothing')), 'name-unknown');
  expect(missing.message).toMatch(`list tags of ${registry.host}/library/nothing: ${registry.host} answered 404`);
  await failureOf(pages(sources.at(registry.host), AbortSignal.abort()), 'aborted');
  // Some registries send no error code.
  registry.misbehave({ match: { kind: 'tags' }, do: { status: 404, body: '' } });
  await failureOf(pages(sources.at(registry.host)), 'name-unknown');
});
