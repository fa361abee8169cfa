/** The pages of `mirror-sync serve` in a real browser. */
import { readdir, readFile } from 'node:fs/promises';
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { listen, type Listening } from '../../lib/serve/listen.ts';
import { makeArtifact, makeImage, makeIndex, makeLayer } from '../kit/images.ts';
import { describeWith, isInstalled, run } from '../kit/real.ts';
import { makeSchema1 } from '../kit/schema1.ts';
import { tempFolder } from '../kit/temp.ts';
import { Served } from '../unit/serve/served.ts';

const NAME = 'docker.io/library/nginx';
const NASTY = 'evil.example/team/nasty';
const START = Date.parse('2026-01-31T12:00:00Z');
const HOUR = 3_600_000;
const LAYERS = [makeLayer({ seed: 1, size: 50_000 }), makeLayer({ seed: 2 })];
const ARCHITECTURES = [
  'amd64',
  'arm64',
  '386',
  'ppc64le',
  's390x',
  'riscv64',
  'mips64le',
  'loong64',
  'wasm',
  'sparc64',
];
const INDEX = makeIndex(
  ARCHITECTURES.map((architecture) => makeImage({ layers: LAYERS, platform: { os: 'linux', architecture } })),
);
const [AMD64] = INDEX.children;

const EVIL = '"><img src=x onerror=alert(1)><script>alert(2)</script>\u202egnp.exe';
const LONG = 'x'.repeat(5_000);

async function archive(): Promise<Served> {
  const served = new Served();
  await served.add(NAME, INDEX, 'latest', START - HOUR);
  const tags = Array.from({ length: 500 }, (_, at) => `1.${at >> 4}.${at & 15}`);
  await served.tag(NAME, INDEX, tags, START);
  for (let at = 0; at < 8; at += 1) await served.tag(NAME, INDEX.children[at]!, ['latest'], START + at * HOUR);
  const labels = { [EVIL]: EVIL, [LONG]: LONG, url: 'https://a.example/?b', script: 'javascript:alert(3)' };
  const config = { author: EVIL, config: { Labels: labels, Env: [EVIL, LONG], Cmd: [EVIL, LONG] } };
  const history = Array.from({ length: 120 }, (_, at) => ({ created: LONG, created_by: at % 2 === 0 ? EVIL : LONG }));
  const image = makeImage({
    layers: Array.from({ length: 120 }, (_, at) => LAYERS[at % 2]!),
    overrides: { config: { ...config, history }, manifest: { annotations: labels } },
  });
  await served.add(NASTY, image, 'a'.repeat(128), START);
  await served.add(NASTY, makeArtifact({ subject: image }), 'artifact', START);
  await served.add(NASTY, makeSchema1({ signed: false }), 'schema1', START);
  await served.tag(NASTY, image, [EVIL, LONG, '__proto__', '../../etc', 'العربية'], START);
  return served;
}

const ADDRESSES = [
  '/',
  `/${NAME}`,
  `/${NAME}?sort=-observed&page=3`,
  `/${NAME}:latest`,
  `/${NAME}@${AMD64!.digest}`,
  `/at-20260201/${NAME}`,
  `/${NASTY}`,
  `/${NASTY}:${'a'.repeat(128)}`,
  `/${NASTY}:artifact`,
  `/${NASTY}:schema1`,
  `/?q=${encodeURIComponent(EVIL)}`,
  '/none',
];

/** Texts with less contrast than WCAG 2.2 (1.4.3) requires. */
const FAINT = `[...document.querySelectorAll('body *')].flatMap((element) => {
  const text = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim() !== '');
  if (!text || element.closest('.unseen, .skip, script, style, option') || element.getClientRects().length === 0) return [];
  const channels = (color) => color.match(/[\\d.]+/g).map(Number);
  let behind = element;
  while (behind && channels(getComputedStyle(behind).backgroundColor)[3] === 0) behind = behind.parentElement;
  const light = (color) => {
    const [r, g, b] = channels(color).map((value) => value / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const pair = [light(getComputedStyle(element).color), light(getComputedStyle(behind ?? document.body).backgroundColor)].sort();
  const ratio = (pair[1] + 0.05) / (pair[0] + 0.05);
  return ratio < 4.5 ? [element.tagName + ' ' + ratio.toFixed(2) + ' ' + element.textContent.slice(0, 40)] : [];
})`;

describeWith(['chromium'], 'the web page', () => {
  let browser: Browser;
  let server: Listening;

  beforeAll(async () => {
    const { registry } = await archive();
    [server, browser] = await Promise.all([
      listen(registry, { host: '127.0.0.1', port: 0 }),
      chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox'] }),
    ]);
  });
  afterAll(async () => {
    await browser.close();
    await server.drain();
  });

  async function withPage(options: BrowserContextOptions, work: (page: Page) => Promise<void>): Promise<void> {
    const context = await browser.newContext({ baseURL: server.url, ...options });
    try {
      await work(await context.newPage());
    } finally {
      await context.close();
    }
  }

  test.each([
    ['a desktop in light mode', 1280, 'light'],
    ['a small window in light mode', 1030, 'light'],
    ['a phone in dark mode', 390, 'dark'],
  ] as const)('fits %s, has contrast, and runs nothing of strangers', async (_, width, colorScheme) => {
    await withPage({ viewport: { width, height: 800 }, colorScheme }, async (page) => {
      const problems: string[] = [];
      page.on('dialog', (dialog) => {
        problems.push(`dialog ${dialog.message()}`);
        void dialog.dismiss();
      });
      page.on('console', (message) => {
        if (!message.text().includes('status of 404')) problems.push(message.text());
      });
      page.on('request', (request) => {
        if (!request.url().startsWith(server.url) && !request.url().startsWith('data:')) problems.push(request.url());
      });
      for (const address of ADDRESSES) {
        await page.goto(address);
        expect([address, await page.evaluate('document.documentElement.scrollWidth <= innerWidth')]).toEqual([
          address,
          true,
        ]);
        expect([address, await page.evaluate(FAINT)]).toEqual([address, []]);
        expect(await page.getByRole('heading', { level: 1 }).count()).toBe(1);
        expect(await page.getByRole('main').count()).toBe(1);
        expect(await page.getByRole('banner').count()).toBe(1);
      }
      expect(problems).toEqual([]);
    });
  });

  test('is searched, sorted and paged without JavaScript', async () => {
    await withPage({ javaScriptEnabled: false }, async (page) => {
      await page.goto('/');
      await page.getByRole('link', { name: NAME }).click();
      expect(await page.getByRole('caption').innerText()).toBe('1 to 50 of 501 tags');
      await page.getByRole('link', { name: 'Last', exact: true }).click();
      expect(await page.getByRole('caption').innerText()).toBe('501 to 501 of 501 tags');
      await page.getByRole('searchbox', { name: 'Search' }).fill('1.31.');
      await page.getByLabel('Sort by').selectOption('Last observed, newest first');
      await page.getByRole('button', { name: 'Apply' }).click();
      const tags = (): Promise<string[]> => page.getByRole('rowheader').allInnerTexts();
      expect(await tags()).toEqual(['1.31.3', '1.31.2', '1.31.1', '1.31.0']);
      await page.getByRole('link', { name: 'Last observed (UTC)' }).click();
      expect(await tags()).toEqual(['1.31.0', '1.31.1', '1.31.2', '1.31.3']);
      const header = page.getByRole('columnheader', { name: 'Last observed (UTC)' });
      expect(await header.getAttribute('aria-sort')).toBe('ascending');
      await page.getByLabel('As of').fill('2026-01-31');
      await page.getByRole('button', { name: 'Show' }).click();
      expect(new URL(page.url()).pathname).toBe(`/at-20260131/${NAME}`);
      expect(await page.getByRole('caption').innerText()).toBe('13 tags');
      await page.getByRole('link', { name: 'Show the present' }).click();
      expect(new URL(page.url()).pathname).toBe(`/${NAME}`);
    });
  });

  test('keeps the roles of tables where rows are cards, and its first link skips to the content', async () => {
    await withPage({ viewport: { width: 390, height: 800 } }, async (page) => {
      await page.goto(`/${NAME}`);
      expect(await page.getByRole('columnheader').count()).toBe(7);
      expect(await page.getByRole('row').count()).toBe(51);
      await page.keyboard.press('Tab');
      await page.keyboard.press('Enter');
      expect(new URL(page.url()).hash).toBe('#main');
    });
  });

  test('copies a command, and shows the previous digests of a tag', async () => {
    await withPage({ permissions: ['clipboard-read', 'clipboard-write'] }, async (page) => {
      await page.goto(`/${NAME}:latest`);
      await page.getByRole('button', { name: 'Copy command for Docker' }).click();
      await page.getByRole('button', { name: 'Copy command for Docker: copied' }).waitFor();
      const copied = await page.evaluate('navigator.clipboard.readText()');
      expect(copied).toBe(`docker pull ${new URL(server.url).host}/${NAME}:latest`);
      await page.goto(`/${NAME}?q=latest`);
      await page.getByText('8 previous digests of latest').click();
      await page.getByRole('cell').getByRole('link', { name: '3 more' }).click();
      expect(new URL(page.url()).hash).toBe('#tag-history');
    });
  });
});

describeWith(['crane', 'skopeo'], 'each command of an image page', () => {
  test('pulls the image', async () => {
    const served = await archive();
    const server = await listen(served.registry, { host: '127.0.0.1', port: 0 });
    await using folder = await tempFolder();
    for (const [address, tools] of [
      [`/${NAME}:latest`, ['crane', 'skopeo', 'podman']],
      [`/at-20260131/${NAME}:1.0.0`, ['crane', 'skopeo']],
      [`/${NAME}@${AMD64!.digest}`, ['crane', 'skopeo']],
      [`/${NASTY}:artifact`, ['oras']],
    ] as const) {
      const page = await (await fetch(server.url + address)).text();
      for (const tool of tools.filter(isInstalled)) {
        const [, command = ''] = new RegExp(`<code>(${tool} [^<]*)</code>`).exec(page) ?? [];
        const target = folder.join(`${tool}-${address.replaceAll(/[/:@]/g, '-')}`);
        const args = command
          .replace(/(^\w+ | image$|dir:image$)/g, (word) => word.replace('image', target))
          .split(' ')
          .slice(1);
        expect([tool, args.length > 1]).toEqual([tool, true]);
        if (tool === 'podman')
          args.unshift('--root', target, '--runroot', folder.join('run'), '--storage-driver', 'vfs');
        if (tool === 'oras') args.push('--output', target);
        await run(tool, args);
        // oras writes only files that have a name.
        if (tool !== 'oras') expect((await readdir(target)).length).toBeGreaterThan(0);
        if (tool === 'crane')
          expect(await readFile(`${target}/index.json`, 'utf8')).toContain(
            /[a-f\d]{64}/.exec(page.replace(/^.*<dt>Digest/s, ''))![0],
          );
      }
    }
    await server.drain();
  });
});
