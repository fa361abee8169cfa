import { expect, test } from 'vitest';
import type { Source } from '../../../lib/registry/source.ts';
import { makeImage } from '../../kit/images.ts';
import { startRegistry, type RegistryOptions, type TestRegistry } from '../../kit/registry.ts';
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

test('tags come page by page, in the registry’s order', async () => {
  await using registry = await registryWithTags({ pageSize: 2 });
  await using sources = testSources();
  expect(await pages(sources.at(registry.host))).toEqual([['1', '2'], ['3', '4'], ['5']]);
  expect(registry.requests.map(({ path }) => path)).toEqual([
    '/v2/library/alpine/tags/list?n=1000',
    '/v2/library/alpine/tags/list?last=2&n=2',
    '/v2/library/alpine/tags/list?last=4&n=2',
  ]);
});

// Nobody has to read all pages: the next one is asked for only when it is wanted.
test('a page is not fetched before it is wanted', async () => {
  await using registry = await registryWithTags({ pageSize: 2 });
  await using sources = testSources();
  for await (const page of sources.at(registry.host).tags()) {
    expect(page).toEqual(['1', '2']);
    break;
  }
  expect(registry.count()).toBe(1);
});

test('a page that fails for a moment is asked for again', async () => {
  await using registry = await registryWithTags({ pageSize: 2 });
  await using sources = testSources();
  registry.misbehave({ after: 1, times: 1, do: { status: 503 } });
  expect((await pages(sources.at(registry.host))).flat()).toEqual(TAGS);
  // The pause, and then the pace at which the registry is asked since.
  expect(sources.waits).toEqual([100, 100]);
});

// Some registries say null for an empty repository.
test('a repository without tags has one empty page', async () => {
  await using registry = await registryWithTags();
  await using sources = testSources();
  registry.misbehave({ do: { status: 200, body: { name: REPOSITORY, tags: null } } });
  expect(await pages(sources.at(registry.host))).toEqual([[]]);
});

// Behind a proxy that ends TLS a registry takes itself for another scheme, but never for another host.
test('an absolute link is followed on the same host, and nowhere else', async () => {
  await using registry = await registryWithTags();
  await using sources = testSources();
  const link = (host: string): Record<string, string> => ({
    link: `<https://${host}/v2/library/alpine/tags/list?last=2>; rel="next"`,
  });
  registry.misbehave({ times: 1, do: { headers: link(registry.host) } });
  expect(await pages(sources.at(registry.host))).toEqual([TAGS, ['3', '4', '5']]);
  registry.misbehave({ times: 1, do: { headers: link('elsewhere.example') } });
  const failure = await failureOf(pages(sources.at(registry.host)), 'invalid');
  expect(failure.detail).toContain('elsewhere.example');
});

// A registry whose pages lead back to earlier ones, however long the way.
test.each([1, 2, 7])('a circle of %i pages is noticed', async (length) => {
  await using registry = await registryWithTags();
  await using sources = testSources();
  for (let page = 0; page < 100; page += 1) {
    const link = `</v2/library/alpine/tags/list?last=${page % length}>; rel="next"`;
    registry.misbehave({ after: page, times: 1, do: { headers: { link } } });
  }
  const failure = await failureOf(pages(sources.at(registry.host)), 'invalid');
  expect(failure.detail).toContain('circle');
  expect(registry.count()).toBeLessThan(40);
});

test('something else than a list of tags is refused', async () => {
  await using registry = await registryWithTags();
  await using sources = testSources();
  for (const body of ['<html>', '[]', 'null', '{"tags":{}}', '{"tags":[1]}']) {
    const rule = registry.misbehave({ do: { status: 200, body } });
    await failureOf(pages(sources.at(registry.host)), 'invalid');
    rule.stop();
  }
});

test('a repository that is not there is told', async () => {
  await using registry = await registryWithTags();
  await using sources = testSources();
  await failureOf(pages(sources.at(registry.host, 'library/nothing')), 'name-unknown');
  await failureOf(pages(sources.at(registry.host), AbortSignal.abort()), 'aborted');
});
