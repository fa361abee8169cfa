/** infra/README.md lists what the template has. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { FUNCTIONS, packaged, REGISTRY } from '../../kit/packaged.ts';

const ALL = [...FUNCTIONS, REGISTRY];
const README = await readFile(join(import.meta.dirname, '../../../infra/README.md'), 'utf8');

/** The cells of the rows below a heading. */
function rowsBelow(heading: string): string[][] {
  const [, section = ''] = README.split(`## ${heading}\n`);
  const [text = ''] = section.split('\n## ');
  const lines = text.split('\n').filter((line) => line.startsWith('| `'));
  return lines.map((line) =>
    line
      .split('|')
      .map((cell) => cell.trim())
      .slice(1, -1),
  );
}

/** `all but webhook`, or `resolver; registry with …`. */
function functionsIn(cell: string): string[] {
  const named = ALL.filter((name) => new RegExp(`\\b${name}\\b`).test(cell));
  return cell.startsWith('all') ? ALL.filter((name) => !named.includes(name)) : named;
}

test('the README names the functions that have each variable', async () => {
  await using template = await packaged({ registry: 'on', registryFill: 'on', runWebhook: 'https://hooks.example/' });
  const rows = rowsBelow('The environment of the functions');
  const listed = rows.flatMap(([names = '', , functions = '']) =>
    [...names.matchAll(/MIRROR_SYNC_\w+/g)].map(([name]) => [name, functionsIn(functions).toSorted()]),
  );
  const variables = ALL.flatMap((name) =>
    Object.keys(template.variables(name)).map((variable) => ({ name, variable })),
  );
  const given = Object.groupBy(
    variables.filter(({ variable }) => variable.startsWith('MIRROR_SYNC_')),
    ({ variable }) => variable,
  );
  const expected = Object.entries(given).map(([variable, users = []]) => [
    variable,
    users.map(({ name }) => name).toSorted(),
  ]);
  expect(Object.fromEntries(listed)).toEqual(Object.fromEntries(expected));
});

test('the README describes the event of each function', () => {
  const names = rowsBelow('The events of the functions').map(([name = '']) => name.replaceAll('`', ''));
  expect(names.toSorted()).toEqual(ALL.toSorted());
});
