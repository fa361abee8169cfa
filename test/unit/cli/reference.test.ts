import { expect, test } from 'vitest';
import { referencePage } from '../../../lib/cli/reference.ts';
import { COMMANDS } from '../../../lib/cli/table.ts';
import { readPage } from '../../kit/pages.ts';

test('docs/cli.md describes the current commands (npm run docs:cli writes it)', () => {
  expect(readPage('docs/cli.md')).toBe(referencePage(COMMANDS));
});

test('each option of a command has a help text without a full stop at its end', () => {
  for (const { options } of COMMANDS)
    for (const { help } of Object.values(options)) expect(help).toMatch(/^[a-z].*[^.]$/);
});
