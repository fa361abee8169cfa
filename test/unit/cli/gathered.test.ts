import { setImmediate } from 'node:timers/promises';
import { expect, test } from 'vitest';
import type { Output } from '../../../lib/cli/output/io.ts';
import { jsonPrinter } from '../../../lib/cli/output/json-printer.ts';
import { plainPrinter } from '../../../lib/cli/output/plain-printer.ts';
import type { ImageEvent } from '../../../lib/sync/events.ts';

const PRINTERS = [
  ['plain', plainPrinter],
  ['JSON', jsonPrinter],
] as const;

const SOURCE = 'registry.example/app';

function unchanged(tag: string): ImageEvent {
  const reference = `${SOURCE}:${tag}`;
  return {
    type: 'image',
    run: 'run',
    source: SOURCE,
    repository: SOURCE,
    reference,
    tag,
    digest: undefined,
    status: 'unchanged',
  };
}

/** Two outputs and their writes, each with the name of its output, and the tags and notices of its lines. */
function outputs(): {
  readonly writes: [name: string, ...lines: string[]][];
  readonly out: Output;
  readonly errors: Output;
} {
  const writes: [name: string, ...lines: string[]][] = [];
  const to = (name: string): Output => ({
    write: (text) =>
      writes.push([name, ...[...text.matchAll(/app:(\d)|a notice/g)].map(([found, tag]) => tag ?? found)]),
  });
  return { writes, out: to('out'), errors: to('errors') };
}

test.for(PRINTERS)('%s output writes the lines of one turn of the event loop together', async ([, printerOf]) => {
  const { writes, out, errors } = outputs();
  const printer = printerOf(out, errors);
  for (const tag of ['1', '2', '3']) printer.event(unchanged(tag));
  expect(writes).toEqual([]);
  await setImmediate();
  printer.event(unchanged('4'));
  await setImmediate();
  printer.close();
  const each = writes.map(([name, ...lines]) => [name, ...new Set(lines)]);
  expect(each).toEqual([
    ['out', '1', '2', '3'],
    ['out', '4'],
  ]);
});

test.for(PRINTERS)('%s output writes its lines before a notice, and the last ones at the end', ([, printerOf]) => {
  const { writes, out, errors } = outputs();
  const printer = printerOf(out, errors);
  printer.event(unchanged('1'));
  printer.notice('a notice');
  printer.event(unchanged('2'));
  printer.close();
  const each = writes.map(([name, ...lines]) => [name, ...new Set(lines)]);
  expect(each).toEqual([
    ['out', '1'],
    ['errors', 'a notice'],
    ['out', '2'],
  ]);
});
