/** Prints the section of CHANGELOG.md for the version of package.json; fails if it is missing: `node scripts/release-notes.ts`. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

const ROOT = join(import.meta.dirname, '..');
const read = (name: string): string => readFileSync(join(ROOT, name), 'utf8');

const { version } = JSON.parse(read('package.json')) as { readonly version: string };
const section = read('CHANGELOG.md')
  .split(/^## /m)
  .find((text) => text.split(/\s/, 1)[0] === version);
if (section === undefined) throw new Error(`print release notes: CHANGELOG.md has no section "## ${version}"`);
process.stdout.write(`${section.slice(section.indexOf('\n')).trim()}\n`);
