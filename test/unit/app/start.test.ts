import { describe, expect, test } from 'vitest';
import { Failure } from '../../../lib/core/failure.ts';
import { parseConfig } from '../../../lib/config/config.ts';
import type { Config } from '../../../lib/config/mirrors.ts';
import { parseReference } from '../../../lib/oci/reference.ts';
import { ordersFor, ordersOf, ordersOfSome, ordersTo } from '../../../lib/app/start.ts';
import type { Order, ResolveMessage } from '../../../lib/queue/messages.ts';
import { resolveMessage } from '../../../lib/queue/outgoing.ts';
import type { Outgoing } from '../../../lib/queue/queue.ts';
import { digestFor } from '../queue/samples.ts';

const RUN = 'run-1';

const CONFIG = configOf(`
  - { source: alpine, tags: [3.19, '3.20'], platforms: [linux/amd64], destination: mirror.example.com/alpine }
  - { source: alpine, tags: all, destination: mirror.example.com/other }
  - { source: quay.io/team/app, tags: all, foreignLayers: skip }`);

function configOf(mirrors: string): Config {
  return parseConfig(`version: 1\nmirrors:${mirrors}`, 'mirror.yaml');
}

const ALPINE: Order = {
  run: RUN,
  source: 'docker.io/library/alpine',
  repository: 'mirror.example.com/alpine',
  platforms: [{ os: 'linux', architecture: 'amd64' }],
};
const OTHER: Order = { ...ALPINE, repository: 'mirror.example.com/other', platforms: 'all' };
const APP: Order = {
  run: RUN,
  source: 'quay.io/team/app',
  repository: 'quay.io/team/app',
  platforms: 'all',
  foreignLayers: 'skip',
};

const list = (order: Order) => resolveMessage(order, { kind: 'list' });
const images = (order: Order, ...tags: readonly string[]) =>
  resolveMessage(order, { kind: 'images', images: tags.map((tag) => ({ tag })) });
const references = (...texts: readonly string[]) => texts.map(parseReference);

function tagsOf(messages: readonly Outgoing<ResolveMessage>[]): (string | undefined)[][] {
  return messages.flatMap(({ message: { what } }) => {
    if (what.kind === 'checks') return [];
    return [what.kind === 'images' ? what.images.map(({ tag }) => tag) : []];
  });
}

function detailOf(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    if (error instanceof Failure) return error.message;
    throw error;
  }
  return 'nothing was refused';
}

describe('ordersOf', () => {
  test('requests listed tags by name and all others by a list, with the settings of each mirror', () => {
    expect(ordersOf(CONFIG, RUN)).toEqual([images(ALPINE, '3.19', '3.20'), list(OTHER), list(APP)]);
  });

  test.each([
    [100, [100]],
    [101, [100, 1]],
    [200, [100, 100]],
    [201, [100, 100, 1]],
  ])('divides %i listed tags into slices of %j', (count, sizes) => {
    const tags = Array.from({ length: count }, (_, index) => `v${index}`);
    const messages = ordersOf(configOf(`\n  - { source: alpine, tags: ${JSON.stringify(tags)} }`), RUN);
    expect(tagsOf(messages).map(({ length }) => length)).toEqual(sizes);
    expect(tagsOf(messages).flat()).toEqual(tags);
    // One message checks the images of several slices for referrers.
    const checks = messages.filter(({ message }) => message.what.kind === 'checks');
    const listed = messages.filter(({ message: { what } }) => what.kind === 'images' && what.listed === true);
    expect([checks.length, listed.length]).toEqual(sizes.length > 1 ? [1, sizes.length] : [0, 0]);
  });

  test('never marks a message as the only one, because other runs of the schedule may need its blobs', () => {
    const messages = ordersOf(configOf('\n  - { source: alpine, tags: [edge] }'), RUN);
    expect(messages).toEqual([images({ ...ALPINE, repository: ALPINE.source, platforms: 'all' }, 'edge')]);
  });
});

describe('ordersOfSome', () => {
  test('treats a name alone as all tags that the configuration selects of the repository', () => {
    expect(ordersOfSome(CONFIG, references('alpine'), RUN)).toEqual([images(ALPINE, '3.19', '3.20'), list(OTHER)]);
  });

  test('treats a tag as that image, for each mirror of the repository', () => {
    expect(ordersOfSome(CONFIG, references('alpine:edge'), RUN)).toEqual([
      images(ALPINE, 'edge'),
      images(OTHER, 'edge'),
    ]);
  });

  test('marks the message of a single image of a single mirror as the only one', () => {
    expect(ordersOfSome(CONFIG, references('quay.io/team/app:1'), RUN)).toEqual([
      resolveMessage(APP, { kind: 'images', images: [{ tag: '1' }] }),
    ]);
  });

  test('marks no message as the only one if a whole repository is selected too', () => {
    expect(ordersOfSome(CONFIG, references('quay.io/team/app:1', 'alpine'), RUN)).toEqual([
      images(ALPINE, '3.19', '3.20'),
      list(OTHER),
      images(APP, '1'),
    ]);
  });

  test('selects a repository in both ways if it is named alone and with an image', () => {
    expect(ordersOfSome(CONFIG, references('quay.io/team/app', 'quay.io/team/app:1'), RUN)).toEqual([
      list(APP),
      images(APP, '1'),
    ]);
  });

  test('suggests the most similar source', () => {
    expect(detailOf(() => ordersOfSome(CONFIG, references('quay.io/team/apps:1'), RUN))).toBe(
      'select quay.io/team/apps: it is not in the configuration; did you mean quay.io/team/app?',
    );
  });

  test.each([
    [5, 'a0, a1, a2, a3, a4'],
    [6, 'a0, a1, a2, a3, a4, …'],
  ])('names at most five of %i sources, each once', (count, named) => {
    const sources = Array.from({ length: count }, (_, index) => `registry.example.com/a${index}`);
    const mirrors = sources.map((source) => `\n  - { source: ${source}, tags: all }`);
    const again = `\n  - { source: ${sources[0] ?? ''}, tags: all, destination: mirror.example.com/again }`;
    const config = configOf(count === 5 ? mirrors.join('') : `${mirrors.join('')}${again}`);
    expect(detailOf(() => ordersOfSome(config, references('quay.io/prometheus/node-exporter'), RUN))).toBe(
      'select quay.io/prometheus/node-exporter: it is not in the configuration, which has ' +
        named.replaceAll('a', 'registry.example.com/a'),
    );
  });
});

describe('ordersFor', () => {
  const ask = (...texts: readonly unknown[]) => ordersFor({ references: texts }, CONFIG, RUN);

  test('treats a name alone as a list, with the settings of each mirror of the repository', () => {
    expect(ask('alpine')).toEqual([list(ALPINE), list(OTHER)]);
  });

  test('mirrors a repository that the configuration lacks to its own name, for all platforms', () => {
    const order = { run: RUN, source: 'ghcr.io/team/tool', repository: 'ghcr.io/team/tool', platforms: 'all' } as const;
    expect(ask('ghcr.io/team/tool')).toEqual([list(order)]);
  });

  test('keeps the tag, the digest, or both of a reference', () => {
    const digest = digestFor('image');
    const wanted = [{ tag: '1' }, { digest }, { tag: '2', digest }];
    expect(ask('quay.io/team/app:1', `quay.io/team/app@${digest}`, `quay.io/team/app:2@${digest}`)).toEqual([
      resolveMessage(APP, { kind: 'images', images: wanted }),
    ]);
  });

  test('accepts 1,000 references and refuses one more', () => {
    const texts = Array.from({ length: 1_001 }, (_, index) => `quay.io/team/app:${index}`);
    expect(tagsOf(ask(...texts.slice(1)))).toHaveLength(10);
    expect(detailOf(() => ask(...texts))).toBe('read request: expected at most 1000 references, got 1001');
  });

  test.each([
    ['a text', 'alpine', /^read request: expected an object; send {"references": \[/],
    ['null', null, /^read request: expected an object; /],
    ['a list', ['alpine'], /^read request: unknown field "0"; /],
    ['another key', { references: ['alpine'], tags: [] }, /^read request: unknown field "tags"; /],
    ['no references', {}, /^read request: no references; /],
    ['references that are not a list', { references: 'alpine' }, /^read request: no references; /],
    ['an empty list', { references: [] }, /^read request: no references; /],
    ['a number among them', { references: ['alpine', 3] }, /^read request: expected a string as the reference, got 3$/],
    ['a text that is not a reference', { references: ['UPPER/Case'] }, /UPPER\/Case/],
  ])('refuses %s with the reason', (_, request, problem) => {
    expect(detailOf(() => ordersFor(request, CONFIG, RUN))).toMatch(problem);
  });
});

describe('ordersTo', () => {
  const orders = (...texts: readonly string[]) => ordersTo(references(...texts), () => [APP]);

  test('groups the images of a repository after the list that a name alone requests', () => {
    expect(orders('quay.io/team/app:1', 'quay.io/team/app', 'quay.io/team/app:2')).toEqual([
      list(APP),
      images(APP, '1', '2'),
    ]);
  });
});
