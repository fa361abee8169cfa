import { expect, test } from 'vitest';
import { columns } from '../../../lib/cli/output/columns.ts';
import { fit, fitName, widthOf, wrap } from '../../../lib/cli/output/screen.ts';

const FAMILY = '👨‍👩‍👧';

test.for([
  ['latest', 6],
  ['鏡像', 4],
  ['かがみ', 6],
  ['e\u0301', 1],
  [FAMILY, 2],
  ['🇩🇪', 2],
  ['…', 1],
] as const)('the width of "%s" is %i cells', ([text, width]) => {
  expect(widthOf(text)).toBe(width);
});

test('a line that is too wide is cut between characters, before the last column', () => {
  expect(fit('鏡像鏡像', 9)).toBe('鏡像鏡像');
  expect(fit('鏡像鏡像', 8)).toBe('鏡像鏡…');
  expect(fit('鏡像鏡像', 7)).toBe('鏡像…');
  expect(fit(`${FAMILY}e\u0301x`, 4)).toBe(`${FAMILY}…`);
  expect(fit('鏡', 1)).toBe('…');
});

test('a name keeps its end, and no character is divided', () => {
  expect(fitName('鏡像:1.0', 8)).toBe('鏡像:1.0');
  expect(fitName('鏡像:1.0', 7)).toBe('…像:1.0');
  expect(fitName(`a${FAMILY}e\u0301`, 3)).toBe('…e\u0301');
});

test('columns are aligned by cells', () => {
  const out = { write: () => undefined };
  expect(
    columns(
      ['NAME', 'TAG'],
      [
        ['鏡像', '1'],
        ['e\u0301', '2'],
      ],
      out,
    ),
  ).toEqual(['NAME  TAG', '鏡像  1', 'e\u0301     2']);
});

test('rows that are as wide as the terminal take two lines, and narrower ones take one', () => {
  const shown = (terminal: number): string[] =>
    columns(['NAME', 'TAG'], [['alpine', '3.20']], { write: () => undefined, isTTY: true, columns: terminal });
  expect(shown(13)).toEqual(['NAME    TAG', 'alpine  3.20']);
  expect(shown(12)).toEqual(['NAME', '  TAG', 'alpine', '  3.20']);
});

test('a first cell is wrapped where it would touch the last column of the terminal', () => {
  const shown = (terminal: number): string[] =>
    columns(['NAME', 'TAG'], [['alpine edge', '3.20']], { write: () => undefined, isTTY: true, columns: terminal });
  expect(shown(12)).toEqual(['NAME', '  TAG', 'alpine edge', '  3.20']);
  expect(shown(11)).toEqual(['NAME', '  TAG', 'alpine', 'edge', '  3.20']);
});

test('a text is wrapped by cells', () => {
  expect(wrap('鏡像 鏡像 x', 9)).toEqual(['鏡像 鏡像', 'x']);
  expect(wrap('鏡像 鏡像 x', 8)).toEqual(['鏡像', '鏡像 x']);
});

test('a table may have any number of rows', () => {
  const rows = Array.from({ length: 200_000 }, (_, at) => [`tag-${at}`, 'x']);
  const lines = columns(['NAME', 'TAG'], rows, { write: () => undefined });
  expect(lines).toHaveLength(200_001);
  expect(lines.at(-1)).toBe('tag-199999  x');
});

test('a very long cell does not widen the other rows', () => {
  const long = 'x'.repeat(100_000);
  const [head = '', first, second = ''] = columns(
    ['NAME', 'TAG'],
    [
      [long, '1'],
      ['a', '2'],
    ],
    { write: () => undefined },
  );
  expect(first).toBe(`${long}  1`);
  expect([head.length, second.length]).toEqual([305, 303]);
});
