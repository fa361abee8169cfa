/** The pages of the documentation, for their tests. */
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

export const ROOT = join(import.meta.dirname, '../..');

/** Every page in the repository, by its path. */
export const PAGES = globSync(['*.md', '{docs,bench,.github}/**/*.md'], { cwd: ROOT }).sort();

export function readPage(path: string): string {
  return readFileSync(join(ROOT, path), 'utf8');
}

export interface Link {
  readonly text: string;
  /** The target in its written form: `s3.md#requests`. */
  readonly target: string;
}

/** The links of a page to files and headings; not those to other hosts. */
export function localLinks(page: string): Link[] {
  const links = [...withoutCode(page).matchAll(/\[([^\]]*)\]\(([^)\s]+)\)/g)];
  return links.map(([, text = '', target = '']) => ({ text, target })).filter(({ target }) => !/^[a-z]+:/.test(target));
}

/** The anchors of a page's headings, as GitHub makes them. */
export function anchorsOf(page: string): string[] {
  const headings = [...page.replace(/^ *```.*?^ *```/gms, '').matchAll(/^#+ (.*)$/gm)];
  return headings.map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replace(/\[([^\]]*)\]\([^)]*\)/g, '$1')
      .replace(/[^\p{L}\p{N}\s_-]/gu, '')
      .trim()
      .replaceAll(' ', '-'),
  );
}

export interface ShellBlock {
  readonly line: number;
  readonly commands: string;
  /** The reason for which no test runs it. */
  readonly notRun: string | undefined;
}

const BLOCK = /^(?:( *)<!-- not run: ([^\n]+) -->\n)?( *)```(?:sh|bash|console)\n(.*?)\n *```$/gms;
const WHOLE_PAGE = /^<!-- shell blocks of this page are not run: (.+) -->$/m;

/** The blocks of shell commands. `<!-- not run: REASON -->` above a block says that no test runs it. */
export function shellBlocks(page: string): ShellBlock[] {
  const [, reason] = WHOLE_PAGE.exec(page) ?? [];
  return [...page.matchAll(BLOCK)].map(({ index, 2: notRun, 4: commands = '' }) => ({
    line: page.slice(0, index).split('\n').length,
    commands,
    notRun: notRun ?? reason,
  }));
}

function withoutCode(page: string): string {
  return page.replace(/^ *```.*?^ *```/gms, '').replace(/`[^`\n]*`/g, (code) => (code.includes('](') ? '' : code));
}
