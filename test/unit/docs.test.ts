/** The pages of the documentation: their links, and the index that lists them. */
import { existsSync, globSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { describe, expect, test } from 'vitest';
import { anchorsOf, localLinks, PAGES, readPage, ROOT, shellBlocks } from '../kit/pages.ts';

/** Links whose target does not exist. */
function brokenLinks(path: string, page: string): string[] {
  return localLinks(page).flatMap(({ text, target }) => {
    const [file = '', anchor] = target.split('#');
    const found = file === '' ? path : normalize(join(dirname(path), file));
    if (found !== path && !existsSync(join(ROOT, found))) return [`[${text}](${target}): ${found} does not exist`];
    if (anchor === undefined || anchorsOf(found === path ? page : readPage(found)).includes(anchor)) return [];
    return [`[${text}](${target}): ${found} has no heading for #${anchor}`];
  });
}

/** Files of this project that a page names by their path from the root, such as `lib/core/retry.ts`, and that do not exist. */
function missingFiles(page: string): string[] {
  const named = page.match(/\b(?:lib|functions|test|scripts|infra|bench)\/[\w./-]+\.(?:ts|js|py|json|yml)\b/g) ?? [];
  return named.filter((path) => !existsSync(join(ROOT, path)));
}

/** The paths in a cell of a table. A name without a folder is in the folder of the name before it. */
function pathsIn(cell: string): string[] {
  let folder = '';
  return [...cell.matchAll(/`([\w./-]+)`/g)].map(([, name = '']) => {
    const path = name.includes('/') ? name : folder + name;
    folder = path.slice(0, path.lastIndexOf('/') + 1);
    return path;
  });
}

/** The guards and tests of untrusted input (`| input | guard | limit | test |`) that do not exist. */
function missingGuards(page: string): string[] {
  const files = globSync('{lib,functions,infra,test}/**/*', { cwd: ROOT });
  return page.split('\n').flatMap((row) => {
    const [, input = '', guard = '', , test = ''] = row.split('|');
    if (input.trim() === 'input') return [];
    const guards = pathsIn(guard).filter((path) => /\.(?:ts|js|yml)$/.test(path));
    return [
      ...guards.filter((path) => !files.includes(path) && !files.includes(`lib/${path}`)),
      ...pathsIn(test).filter((path) => !files.some((file) => file.startsWith(`test/${path}`))),
    ];
  });
}

describe('the documentation', () => {
  test.each(PAGES.filter((path) => path !== 'CHANGELOG.md'))('names only source files that exist: %s', (path) => {
    expect(missingFiles(readPage(path))).toEqual([]);
  });

  test.each(PAGES)('links only to files and headings that exist: %s', (path) => {
    expect(brokenLinks(path, readPage(path))).toEqual([]);
  });

  test('links in the npm package only to files of the package', () => {
    const { files } = JSON.parse(readPage('package.json')) as { readonly files: readonly string[] };
    const packaged = [...files, 'README.md', 'LICENSE', 'package.json'];
    const isPackaged = (path: string): boolean => packaged.some((each) => path === each || path.startsWith(`${each}/`));
    for (const path of PAGES.filter(isPackaged))
      for (const { target } of localLinks(readPage(path)).filter(({ target }) => !target.startsWith('#')))
        expect(isPackaged(normalize(join(dirname(path), target.replace(/#.*/, '')))), `${path}: ${target}`).toBe(true);
  });

  test('names guards and tests of untrusted input that exist', () => {
    expect(missingGuards(readPage('docs/security.md'))).toEqual([]);
  });

  test('is complete in docs/README.md, which links to each page of docs', () => {
    const linked = localLinks(readPage('docs/README.md')).map(({ target }) => target.replace(/#.*/, ''));
    const pages = globSync('**/*.md', { cwd: join(ROOT, 'docs') }).filter((path) => path !== 'README.md');
    expect(pages.length).toBeGreaterThan(20);
    expect(pages.filter((path) => !linked.includes(path))).toEqual([]);
  });

  test('is linked from the README', () => {
    expect(localLinks(readPage('README.md')).map(({ target }) => target)).toContain('docs/README.md');
  });
});

describe('the reader of pages', () => {
  const page =
    '# A `b` c\n\n[x](nowhere.md) [y](#a-b-c) [z](#d) [w](https://a.example/b)\n\n```sh\n# no heading [v](u)\n```\n';

  test('reports a link to a missing file, and one to a missing heading', () => {
    expect(brokenLinks('docs/x.md', page)).toEqual([
      '[x](nowhere.md): docs/nowhere.md does not exist',
      '[z](#d): docs/x.md has no heading for #d',
    ]);
  });

  test('reports a source file that does not exist', () => {
    expect(missingFiles('see `lib/core/retry.ts` and `lib/nowhere.ts`')).toEqual(['lib/nowhere.ts']);
  });

  test('reports a guard and a test that do not exist', () => {
    const row = '| a size | `registry/http/range.ts`, `none.ts`, `maxBytes` | 1 | `unit/registry/range`, `none` |';
    expect(missingGuards(row)).toEqual(['registry/http/none.ts', 'unit/registry/none']);
  });

  test('finds shell blocks, with the reason for which a marked one is not run', () => {
    expect(shellBlocks(`${page}\n1. x\n\n   <!-- not run: needs y -->\n   \`\`\`sh\n   y\n   \`\`\`\n`)).toEqual([
      { line: 5, commands: '# no heading [v](u)', notRun: undefined },
      { line: 11, commands: '   y', notRun: 'needs y' },
    ]);
  });
});
