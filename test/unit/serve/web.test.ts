/** Pages for browsers: their content, their safety and their cost. */
import { createHash } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';
import fc from 'fast-check';
import { beforeEach, describe, expect, test } from 'vitest';
import { withDecisionIn } from '../../../lib/archive/tag-index/withheld.ts';
import { indexAt } from '../../../lib/serve/past.ts';
import { foreign, maybeLink } from '../../../lib/serve/web/text.ts';
import { ociLayout } from '../../../lib/archive/oci-layout.ts';
import { AMD64 } from '../archive/observations.ts';
import { makeArtifact, makeImage, makeIndex, makeLayer } from '../../kit/images.ts';
import { makeSchema1 } from '../../kit/schema1.ts';
import { MemoryStore } from '../../kit/memory-store.ts';
import { Served } from './served.ts';

const NAME = 'docker.io/library/alpine';
const DAY = 86_400_000;
const START = Date.parse('2026-01-31T12:00:00Z');
const LAYERS = [makeLayer({ seed: 1, size: 40_000 }), makeLayer({ seed: 2, size: 9_000 })];
const AMD = makeImage({ layers: LAYERS });
const ARM = makeImage({ layers: LAYERS.slice(0, 1), platform: { os: 'linux', architecture: 'arm64' } });
const INDEX = makeIndex([AMD, ARM]);

class CountedStore extends MemoryStore {
  readonly gets: string[] = [];

  override get(...args: Parameters<MemoryStore['get']>): ReturnType<MemoryStore['get']> {
    this.gets.push(args[0]);
    return super.get(...args);
  }
}

let store: CountedStore;
let served: Served;
beforeEach(async () => {
  store = new CountedStore();
  served = new Served({}, store);
  await served.add(NAME, INDEX, '3.20', START);
});

async function page(target: string, headers: Readonly<Record<string, string>> = {}): Promise<string> {
  const response = await served.get(target, { host: 'archive.example:5000', ...headers });
  expect([target, response.status]).toEqual([target, 200]);
  return await response.text();
}

/** The texts of the cells of a table, row by row. */
function cellsOf(body: string): string[][] {
  return [...body.matchAll(/<tr role="row">(.*?)<\/tr>/gs)]
    .slice(1)
    .map(([, row = '']) => [...row.matchAll(/<t[hd][^>]*>(.*?)<\/t[hd]>/gs)].map(([, cell = '']) => textOf(cell)));
}

/** The headings of the table below a section's heading, each after the kind by which the style lays out its column. */
function headingsOf(body: string, section: string): string[] {
  const [, below = ''] = body.split(`<h2 id="${section}">`);
  const [, head = ''] = /<thead[^>]*>(.*?)<\/thead>/s.exec(below) ?? [];
  return [...head.matchAll(/<th [^>]*class="(\w+)"[^>]*>(.*?)<\/th>/gs)].map(
    ([, kind = '', label = '']) => `${kind}: ${textOf(label)}`,
  );
}

function textOf(markup: string): string {
  return markup
    .replaceAll(/<[^>]*>/g, ' ')
    .replaceAll(/\s+/g, ' ')
    .trim();
}

/** The text of the link that compares an image with the one before. */
function comparedFrom({ digest }: { readonly digest: string }): string {
  return `compare ${digest.slice(0, 19)} with the digest before it`;
}

describe('the list of repositories', () => {
  test('has tags, the size with each object once, and the last change', async () => {
    await served.add(NAME, AMD, '3.21', START + DAY);
    const sum = [INDEX, AMD, ARM].reduce((all, { manifest }) => all + manifest.length, 0);
    const blobs = new Map([...AMD.blobs, ...ARM.blobs]);
    const bytes = [...blobs.values()].reduce((all, { length }) => all + length, sum);
    const body = await page('/');
    expect(cellsOf(body)).toEqual([[NAME, '2', `${(bytes / 1000).toFixed(1)} kB`, '2026-02-01 12:00']]);
    expect(body).toContain(`href="/${NAME}"`);
    expect(body).toContain(`title="${bytes.toLocaleString('en')} bytes"`);
  });

  test('has pages and a search, and reads the tag indexes of its own page only', async () => {
    const descriptor = { digest: ARM.digest, mediaType: ARM.mediaType, size: ARM.manifest.length };
    const change = { tag: 'x', descriptor, observed: START, platforms: 'all' } as const;
    for (let at = 0; at < 120; at += 1) await served.archive.updateTags(`registry.example/team/app-${at}`, [change]);
    store.gets.length = 0;
    const first = await page('/');
    expect(cellsOf(first)).toHaveLength(50);
    expect(textOf(first)).toContain('1 to 50 of 121 repositories');
    expect(store.gets.filter((key) => key.startsWith('repositories/')).length).toBeLessThanOrEqual(50);
    expect(cellsOf(await page('/?page=3'))).toHaveLength(21);
    expect(cellsOf(await page('/?page=99'))).toHaveLength(21);
    expect(cellsOf(await page('/?q=APP-11')).map(([name]) => name)).toEqual(
      [...[''], ...Array.from({ length: 10 }, (_, at) => String(at))].map(
        (end) => `registry.example/team/app-11${end}`,
      ),
    );
    expect(cellsOf(await page('/?sort=-name')).at(0)?.[0]).toBe('registry.example/team/app-99');
    expect(textOf(await page('/?q=nothing'))).toContain('No repositories');
  });

  test('shows a repository whose tag index is corrupt, and the others', async () => {
    await store.put(ociLayout.tagIndex('a.example/corrupt'), Buffer.from('not JSON'));
    expect(cellsOf(await page('/')).map(([name, tags]) => [name, tags])).toEqual([
      ['a.example/corrupt', 'cannot be read'],
      [NAME, '1'],
    ]);
    expect(served.faults).toEqual([expect.stringContaining('is not JSON')]);
    const response = await served.get('/a.example/corrupt');
    expect(response.status).toBe(500);
    expect(await response.text()).not.toContain('repositories/a.example');
  });

  test('keeps the outlines of manifests in memory, so a second view reads no manifest', async () => {
    await page('/');
    store.gets.length = 0;
    await page('/');
    expect(store.gets).toEqual([ociLayout.tagIndex(NAME)]);
  });
});

describe('the list of tags', () => {
  test('has the digest, platforms, size, observations and previous digests of each tag', async () => {
    await served.add(NAME, AMD, '3.20', START + DAY);
    const [row] = cellsOf(await page(`/${NAME}`));
    const size = AMD.manifest.length + [...AMD.blobs.values()].reduce((sum, { length }) => sum + length, 0);
    expect(row).toEqual([
      '3.20',
      AMD.digest.slice(0, 19),
      'linux/amd64',
      `${(size / 1000).toFixed(1)} kB`,
      '2026-02-01 12:00',
      '2026-02-01 12:00',
      `1 previous digests of 3.20 ${INDEX.digest.slice(0, 19)}`,
    ]);
  });

  test('is sorted by name in natural order, or by time, and says so to a screen reader', async () => {
    const tags = ['3.9', '3.10', 'latest', '3.8'];
    for (const [at, tag] of tags.entries()) await served.add(NAME, ARM, tag, START + DAY * (at + 1));
    const names = async (query: string): Promise<unknown> =>
      cellsOf(await page(`/${NAME}${query}`)).map(([tag]) => tag);
    expect(await names('')).toEqual(['3.8', '3.9', '3.10', '3.20', 'latest']);
    expect(await names('?sort=-name')).toEqual(['latest', '3.20', '3.10', '3.9', '3.8']);
    expect(await names('?sort=observed')).toEqual(['3.20', ...tags]);
    expect(await names('?sort=-first')).toEqual([...tags.toReversed(), '3.20']);
    expect(await names('?sort=constructor&page=-1')).toEqual(await names(''));
    expect(await names('?q=3.1')).toEqual(['3.10']);
    expect(await names(`?q=${INDEX.digest}`)).toEqual(['3.20']);
    const sorted = await page(`/${NAME}?sort=-observed`);
    expect([...sorted.matchAll(/aria-sort="(\w+)"/g)].map(([, state]) => state)).toEqual([
      'none',
      'none',
      'descending',
    ]);
  });

  test('names the archived part of an image', async () => {
    const descriptor = { digest: INDEX.digest, mediaType: INDEX.mediaType, size: INDEX.manifest.length };
    const changes = [{ tag: 'part', descriptor, observed: START, platforms: [AMD64] }];
    await served.archive.updateTags('docker.io/library/part', changes);
    const [row] = cellsOf(await page('/docker.io/library/part'));
    expect(row?.[2]).toBe('linux/amd64 a part of the image');
    const image = await page('/docker.io/library/part:part');
    expect(image).toContain('Archived for linux/amd64 only.');
    expect(
      cellsOf(image)
        .slice(0, 2)
        .map(([platform, , , state]) => [platform, state]),
    ).toEqual([
      ['linux/amd64', 'archived'],
      ['linux/arm64', 'not archived'],
    ]);
    expect(textOf(image)).not.toContain('skopeo copy --all');
  });

  test('of 10,000 tags costs as many reads as one of 100 tags, and as many bytes', async () => {
    const changes = (count: number): Parameters<typeof served.archive.updateTags>[1] =>
      Array.from({ length: count }, (_, at) => ({
        tag: `1.${at}`,
        descriptor: { digest: ARM.digest, mediaType: ARM.mediaType, size: ARM.manifest.length },
        observed: START + at,
        platforms: 'all',
      }));
    await served.archive.updateTags('a.example/few', changes(100));
    await served.archive.updateTags('a.example/many', changes(10_000));
    await page('/a.example/few');
    const cost = async (name: string): Promise<readonly [reads: number, bytes: number]> => {
      store.gets.length = 0;
      const { length } = await page(`/${name}`);
      return [store.gets.length, length];
    };
    const [few, many] = [await cost('a.example/few'), await cost('a.example/many')];
    expect(many[0]).toBe(few[0]);
    expect(many[1]).toBeLessThan(few[1] * 1.1);
    const list = await served.get('/v2/a.example/many/tags/list?n=100');
    expect(list.headers.get('link')).toContain('rel="next"');
  });

  test('reads at most 1,000 manifests and configs, and says which sizes are a part', async () => {
    const children = Array.from({ length: 60 }, (_, at) =>
      makeImage({ layers: [], platform: { os: 'linux', architecture: `a${at}` } }),
    );
    for (let at = 0; at < 50; at += 1) {
      const own = makeImage({ layers: [], platform: { os: 'plan9', architecture: `a${at}` } });
      const some = children.map(({ digest }, child) =>
        makeImage({ layers: [], overrides: { config: { a: at, child, digest } } }),
      );
      await served.add('a.example/wide', makeIndex([own, ...some.slice(0, 30)]), `t${at}`, START);
    }
    store.gets.length = 0;
    const body = await page('/a.example/wide');
    expect(store.gets.length).toBeLessThanOrEqual(1_001);
    expect(body).toContain('at least');
  });
});

test('four pages are made concurrently, and pulls do not wait for the others', async () => {
  const gate = Promise.withResolvers<undefined>();
  const get = store.get.bind(store);
  store.get = async (...of) => {
    await gate.promise;
    return await get(...of);
  };
  const pages = [1, 2, 3, 4].map(() => page(`/${NAME}:3.20`));
  let isAnswered = false;
  const fifth = served.get('/?at=2026-01-31').then(({ status }) => {
    isAnswered = true;
    return status;
  });
  expect((await served.get('/v2/')).status).toBe(200);
  await setImmediate();
  expect(isAnswered).toBe(false);
  gate.resolve(undefined);
  await Promise.all(pages);
  expect(await fifth).toBe(303);
});

describe('the page of an image', () => {
  test('of an index leads to its images', async () => {
    const body = await page(`/${NAME}:3.20`);
    expect(textOf(body)).toContain(INDEX.digest);
    for (const { digest } of [AMD, ARM]) expect(body).toContain(`href="/${NAME}@${digest}"`);
    expect(textOf(body)).toContain('The archive has no referrers of this manifest');
  });

  test('has its referrers, and those of the images of an index', async () => {
    const [own, below] = [INDEX, AMD].map((subject) => makeArtifact({ subject, artifactType: 'application/x.<b>' }));
    for (const referrer of [own!, below!]) await served.refer(NAME, referrer, {}, START);
    const body = await page(`/${NAME}:3.20`);
    for (const { digest } of [own!, below!]) expect(body).toContain(`href="/${NAME}@${digest}"`);
    expect(body).toContain('application/x.&lt;b&gt;');
    expect(textOf(body)).toContain('2 referrers');
    expect(textOf(await page(`/${NAME}@${own!.digest}`))).toContain('This manifest refers to');
  });

  test('has its layers with their commands, its config and its history', async () => {
    const config = {
      config: {
        Env: ['A=b c'],
        Entrypoint: ['/bin/sh', '-c', 'echo "x"'],
        Labels: { maintainer: 'Ann <a@b.example>' },
      },
      history: [{ created_by: 'ADD base' }, { created_by: 'CMD x', empty_layer: true }, { created_by: 'RUN step' }],
    };
    await served.add(NAME, makeImage({ layers: LAYERS, overrides: { config } }), 'built', START);
    const body = await page(`/${NAME}:built`);
    const layers = cellsOf(body).slice(0, 2);
    expect(layers.map(([at, digest, , , command]) => [at, digest, command])).toEqual([
      ['1', LAYERS[0]!.digest.slice(0, 19), 'ADD base'],
      ['2', LAYERS[1]!.digest.slice(0, 19), 'RUN step'],
    ]);
    for (const text of ['A=b c', '/bin/sh -c &quot;echo', 'Ann &lt;a@b.example&gt;', 'no layer'])
      expect(textOf(body)).toContain(text);
  });

  test('lays out each column for its content, such as room for a media type', async () => {
    const images = headingsOf(await page(`/${NAME}:3.20`), 'images');
    expect(images).toEqual(['name: Platform', 'text: Digest', 'text: Type', 'text: In the archive']);
    const image = await page(`/${NAME}@${AMD.digest}`);
    expect(headingsOf(image, 'layers')).toEqual([
      'text: Number',
      'text: Digest',
      'number: Size',
      'type: Type',
      'text: Created by',
    ]);
    expect(headingsOf(image, 'history')).toEqual(['text: Step', 'name: Created', 'text: Command', 'text: Layer']);
    for (const kind of ['name', 'number', 'type']) expect(image).toMatch(new RegExp(`th\\.${kind} \\{`));
  });

  test('has the titles of its layers if the config has no history, as with the files of an artifact', async () => {
    const files = makeImage({
      layers: LAYERS,
      overrides: {
        config: { history: [] },
        descriptors: (layers) =>
          layers.map((layer, at) => ({
            ...layer,
            annotations: { 'org.opencontainers.image.title': `file-${at}.txt` },
          })),
      },
    });
    await served.add(NAME, files, 'files', START);
    const body = await page(`/${NAME}:files`);
    expect(headingsOf(body, 'layers').at(-1)).toBe('text: Title');
    expect(cellsOf(body).map((row) => row.at(-1))).toEqual(expect.arrayContaining(['file-0.txt', 'file-1.txt']));
  });

  test('of a tag has the digests that the tag had', async () => {
    await served.add(NAME, AMD, '3.20', START + DAY);
    await served.add(NAME, INDEX, '3.20', START + 2 * DAY);
    const rows = cellsOf((await page(`/${NAME}:3.20`)).replace(/^.*id="tag-history"/s, '<tr role="row"></tr>'));
    expect(rows.slice(1, 4)).toEqual([
      [`${INDEX.digest.slice(0, 19)} (this page)`, '2026-02-02 12:00', 'now', comparedFrom(INDEX)],
      [AMD.digest.slice(0, 19), '2026-02-01 12:00', '2026-02-02 12:00', comparedFrom(AMD)],
      [`${INDEX.digest.slice(0, 19)} (this page)`, '2026-01-31 12:00', '2026-02-01 12:00', ''],
    ]);
  });

  test('of a tag says that a digest of the tag was rejected', async () => {
    await served.add(NAME, AMD, 'moved', START);
    await served.add(NAME, INDEX, 'moved', START + DAY);
    await served.archive.updatePolicy(NAME, (index) =>
      withDecisionIn(index, { action: 'reject', digest: AMD.digest, by: 'ann', at: START, reason: 'a reason' }),
    );
    const rows = cellsOf((await page(`/${NAME}:moved`)).replace(/^.*id="tag-history"/s, '<tr role="row"></tr>'));
    expect(rows[2]).toEqual(['rejected', '2026-01-31 12:00', '2026-02-01 12:00', '']);
  });

  test('of a tag compares its image with the one before, and shows foreign texts escaped', async () => {
    const entrypoint = ['<script>', '\u202e'];
    const config = { config: { Entrypoint: entrypoint, Env: ['TOKEN=secret'], Labels: { '<b>': 'x' } } };
    const moved = makeImage({ layers: LAYERS.slice(1), overrides: { config } });
    await served.add(NAME, moved, '3.20', START + DAY);
    const body = await page(`/${NAME}:3.20`);
    const section = /<h2 id="changes">.*?<h2/s.exec(body)?.[0] ?? '';
    expect(textOf(section)).toContain(`Compared with ${INDEX.digest.slice(0, 19)} , which was current for 1 day`);
    expect(textOf(section)).toContain('Layers 1 shared, 0 added, 1 removed');
    expect(textOf(section)).toContain('Platforms removed linux/arm64');
    expect(cellsOf(section)).toEqual([
      ['Entrypoint', 'none', '[&quot;&lt;script&gt;&quot;,&quot;\\u202e&quot;]'],
      ['Command', '[&quot;/bin/true&quot;]', 'none'],
      ['Variable TOKEN', 'none', 'set'],
      ['Label &lt;b&gt;', 'none', 'x'],
    ]);
    expect(section).not.toContain('secret');
  });

  test('compares two images of the repository on request, and no others', async () => {
    await served.add(NAME, AMD, 'x', START);
    await served.add('docker.io/library/other', ARM, 'x', START);
    const compared = async (previous: string): Promise<boolean> =>
      (await page(`/${NAME}@${AMD.digest}?previous=${previous}`)).includes('id="changes"');
    expect(await compared(INDEX.digest)).toBe(true);
    expect(await compared(AMD.digest)).toBe(false);
    expect(await compared(makeLayer({ seed: 9 }).digest)).toBe(false);
    expect(await compared(ARM.digest)).toBe(false);
    expect(await compared('x')).toBe(false);
  });

  test('exists for artifacts, for schema 1, and for a manifest that refers to another', async () => {
    await served.add(NAME, makeArtifact({ subject: AMD }), 'sbom', START);
    const schema1 = makeSchema1({ signed: false });
    await served.add(NAME, schema1, 'old', START);
    const sbom = await page(`/${NAME}:sbom`);
    expect(sbom).toContain(`This manifest refers to <a href="/${NAME}@${AMD.digest}"`);
    expect(textOf(sbom)).toContain('oras pull');
    const old = await page(`/${NAME}:old`);
    expect(textOf(old)).toContain('Docker schema 1 image');
    expect(old).not.toContain('docker pull');
  });

  test('names the server as the browser does, if that is a host', async () => {
    const command = async (headers: Readonly<Record<string, string>>): Promise<string | undefined> =>
      /podman pull [^<]*/.exec(await page(`/${NAME}:3.20`, headers))?.[0];
    expect(await command({})).toBe(`podman pull --tls-verify=false archive.example:5000/${NAME}:3.20`);
    expect(await command({ 'x-forwarded-proto': 'https' })).toBe(`podman pull archive.example:5000/${NAME}:3.20`);
    for (const host of ['a b', 'x"><script>', 'evil.example/path', 'u@evil.example', '-x', '$(id)', '', 'a;b'])
      expect(await command({ host })).toBe(`podman pull --tls-verify=false REGISTRY/${NAME}:3.20`);
    expect(await command({ host: '[::1]:5000' })).toContain(`[::1]:5000/${NAME}`);
  });
});

describe('pages of an earlier time', () => {
  beforeEach(() => served.add(NAME, AMD, '3.20', START + 2 * DAY));

  test('show the tags of that time, and their links stay there', async () => {
    const body = await page(`/at-20260131/${NAME}`);
    expect(cellsOf(body)[0]?.[1]).toBe(INDEX.digest.slice(0, 19));
    expect(body).toContain(`href="/at-20260131/${NAME}:3.20"`);
    expect(textOf(body)).toContain('as they were observed at 2026-01-31 23:59 UTC');
    const image = await page(`/at-20260131t120000z/${NAME}:3.20`);
    expect(textOf(image)).toContain(
      `crane pull --insecure --format=oci archive.example:5000/at-20260131t120000z/${NAME}:3.20`,
    );
    expect(textOf(await page(`/at-20260101/${NAME}`))).toContain('No tags');
    expect(cellsOf(await page('/at-20260101/'))[0]?.slice(0, 2)).toEqual([NAME, '0']);
    expect((await served.get(`/at-20260101/${NAME}:3.20`)).status).toBe(404);
  });

  test('have an address that the form leads to', async () => {
    for (const [target, location] of [
      ['/?at=2026-01-31', '/at-20260131/'],
      [`/${NAME}:3.20?at=2026-01-31`, `/at-20260131/${NAME}:3.20`],
      [`/at-20250101/${NAME}?at=2026-01-31`, `/at-20260131/${NAME}`],
      [`/at-20250101/${NAME}?at=`, `/${NAME}`],
    ] as const) {
      const response = await served.get(target);
      expect([target, response.status, response.headers.get('location')]).toEqual([target, 303, location]);
    }
    for (const day of ['2026-02-30', '//evil.example', 'x'])
      expect((await served.get(`/?at=${encodeURIComponent(day)}`)).status).toBe(400);
  });

  test('of one state come from one computation', async () => {
    const { index } = (await served.archive.tagIndex(NAME))!;
    expect(indexAt(index, START)).toBe(indexAt(index, START));
    expect(indexAt(index, START + DAY)).not.toBe(indexAt(index, START));
    expect(indexAt(index, undefined)).toBe(index);
  });

  test('are those of --as-of by default', async () => {
    served.with({ asOf: START + DAY });
    expect(cellsOf(await page(`/${NAME}`))[0]?.[1]).toBe(INDEX.digest.slice(0, 19));
  });
});

describe('responses for browsers', () => {
  test('permit only the style and the script of the page, and no frame', async () => {
    for (const target of ['/', `/${NAME}`, `/${NAME}:3.20`, '/none']) {
      const response = await served.get(target);
      const body = await response.text();
      const hash = (text: string): string => createHash('sha256').update(text).digest('base64');
      const [style, script] = ['style', 'script'].map(
        (tag) => new RegExp(`<${tag}>(.*?)</${tag}>`, 's').exec(body)?.[1],
      );
      expect(response.headers.get('content-security-policy')?.split('; ')).toEqual([
        "default-src 'none'",
        `style-src 'sha256-${hash(style!)}'`,
        `script-src 'sha256-${hash(script!)}'`,
        'img-src data:',
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
      ]);
      expect(Object.fromEntries(response.headers)).toMatchObject({
        'content-type': 'text/html; charset=utf-8',
        'x-content-type-options': 'nosniff',
        'referrer-policy': 'no-referrer',
      });
      expect(body).not.toMatch(/ style=| on[a-z]+=/);
    }
  });

  test('have no body for HEAD, and 304 for a browser that has the page', async () => {
    const get = await served.get('/');
    const head = await served.get('/', {}, 'HEAD');
    expect(Object.fromEntries(head.headers)).toEqual(Object.fromEntries(get.headers));
    expect(head.body).toBeNull();
    const etag = get.headers.get('etag')!;
    expect((await served.get('/', { 'if-none-match': etag })).status).toBe(304);
    await served.add(NAME, AMD, 'new', START);
    expect((await served.get('/', { 'if-none-match': etag })).status).toBe(200);
  });

  test.each([
    ['/none', 404],
    ['/docker.io/library/none', 404],
    [`/${NAME}:none`, 404],
    [`/${NAME}:${'x'.repeat(129)}`, 404],
    [`/${NAME}@sha256:abc`, 404],
    [`/${NAME}@${LAYERS[0]!.digest}`, 404],
    ['/../etc/passwd', 404],
    ['/a/../b', 404],
    ['/%2e%2e/', 404],
    ['/a\0b/c', 404],
    ['/docker.io%2Flibrary/alpine', 404],
    ['/<script>alert(1)</script>', 404],
    [`/${'a/'.repeat(1_000)}b`, 404],
    ['/at-20260230/', 400],
    [`/${'a'.repeat(10_000)}`, 400],
  ])('are a page with the status of the error for %j', async (target, status) => {
    for (const method of ['GET', 'HEAD']) {
      const response = await served.get(target, {}, method);
      expect(response.status).toBe(status);
      expect(response.headers.get('content-type')).toBe('text/html; charset=utf-8');
      const body = await response.text();
      expect(body).not.toContain('<script>alert');
      expect(body === '').toBe(method === 'HEAD');
    }
  });

  test('refuse writes', async () => {
    const response = await served.get('/', {}, 'POST');
    expect([response.status, response.headers.get('allow')]).toEqual([405, 'GET, HEAD']);
  });

  test('need a login where the registry does', async () => {
    const user = 'Basic YTpi';
    served.with({ logins: { userOf: (given) => Promise.resolve(given === user ? 'a' : undefined) } });
    for (const target of ['/', `/${NAME}`, `/${NAME}:3.20`, '/at-20260131/', '/?at=2026-01-31', '/none']) {
      const response = await served.get(target);
      expect([target, response.status]).toEqual([target, 401]);
      expect(response.headers.get('www-authenticate')).toContain('Basic');
      expect(await response.text()).not.toContain(NAME);
    }
    expect(await page(`/${NAME}:3.20`, { authorization: user })).toContain('docker login archive.example:5000');
  });
});

describe('texts of strangers', () => {
  test('are never markup, whatever they contain', async () => {
    const evil = '"><img src=x onerror=alert(1)><script>alert(2)</script>\u202egnp.exe&amp;';
    const config = { author: evil, config: { Labels: { [evil]: evil }, Env: [evil], Cmd: [evil], User: evil } };
    const history = [
      { created: evil, created_by: evil },
      { comment: evil, empty_layer: true },
    ];
    const manifest = { annotations: { [evil]: evil, a: 'javascript:alert(1)', b: 'https://b.example/"onclick="x' } };
    const image = makeImage({ layers: LAYERS, overrides: { config: { ...config, history }, manifest } });
    const platform = { os: evil, architecture: evil };
    const index = makeIndex([makeImage({ platform, layers: LAYERS })], 'oci', manifest);
    await served.add('evil.example/x', image, 'image', START);
    await served.add('evil.example/x', index, 'index', START);
    await served.add('evil.example/x', index, evil, START);
    const targets = [
      '/',
      '/evil.example/x',
      '/evil.example/x:image',
      '/evil.example/x:index',
      `/?q=${encodeURIComponent(evil)}`,
    ];
    for (const target of [...targets, `/evil.example/x?q=${encodeURIComponent(evil)}`]) {
      const body = await page(target);
      expect(body).not.toMatch(/<img|<script>alert|javascript:[^<]*"|[\u202a-\u202e\u2066-\u2069]/);
      expect(body.match(/<script/g)).toHaveLength(1);
      expect(body.replaceAll(/"[^"]*"/g, '""')).not.toMatch(/<[^>]*\son\w+=/);
    }
  });

  test('are escaped and bounded for any text', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 400 }), (text) => {
        for (const markup of [String(foreign(text)), String(maybeLink(text))]) {
          expect(markup.replaceAll(/<\/?bdi>|<a rel="[^"<>]*" href="https?:[^"<>]*">|<\/a>/g, '')).not.toMatch(
            /[<>"']/,
          );
          expect(markup).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u);
        }
      }),
    );
    expect(String(foreign('x'.repeat(10_000))).length).toBeLessThan(400);
  });

  test('are links for http and https only', () => {
    for (const text of [
      'javascript:alert(1)',
      'data:text/html,x',
      'ftp://a.example',
      '//a.example',
      ' https://a.example',
      'https://',
      'see https://a.example',
    ])
      expect(String(maybeLink(text))).not.toContain('<a');
    expect(String(maybeLink('HTTPS://a.example/?b=1&c="'))).toContain('href="https://a.example/?b=1&amp;c=%22"');
  });

  test('do not make a page larger than a load balancer sends', async () => {
    const large = (length: number): string => '"'.repeat(length);
    const Labels = Object.fromEntries(Array.from({ length: 500 }, (_, at) => [`${at}${large(300)}`, large(2_000)]));
    const history = Array.from({ length: 500 }, () => ({ created_by: large(2_000) }));
    const config = { config: { Labels, Env: Array.from({ length: 500 }, () => large(2_000)) }, history };
    const layers = Array.from({ length: 1_000 }, () => LAYERS[0]!);
    const overrides = { config, manifest: { annotations: Labels } };
    await served.add('evil.example/large', makeImage({ layers, overrides }), 'x', START);
    const body = await page('/evil.example/large:x');
    expect(Buffer.byteLength(body)).toBeLessThan(1_000_000);
    expect(textOf(body)).toContain('A section is too large for this page');
  });
});
