/** Writes docs/cli.md from the table of commands. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { referencePage } from '../lib/cli/reference.ts';
import { COMMANDS } from '../lib/cli/table.ts';

await writeFile(join(import.meta.dirname, '..', 'docs/cli.md'), referencePage(COMMANDS));
