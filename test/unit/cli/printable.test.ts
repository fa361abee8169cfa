import { expect, test } from 'vitest';
import type { Output } from '../../../lib/cli/output/io.ts';
import { jsonPrinter } from '../../../lib/cli/output/json-printer.ts';
import { main } from '../../../lib/cli/main.ts';
import { plainPrinter } from '../../../lib/cli/output/plain-printer.ts';
import type { Printer } from '../../../lib/cli/output/printer.ts';
import { terminalPrinter } from '../../../lib/cli/output/terminal-printer.ts';
import { NOTHING } from '../../kit/summary.ts';

/** An escape, a C1 control, DEL, a line end, text direction, a line separator, and a tag character. */
const HOSTILE = 'a\u001b[2J\u009b1m\u007f\n\u202e\u2066\u200f\u2028\u{e0041}z';
const ESCAPED = 'a\\u001b[2J\\u009b1m\\u007f\\u000a\\u202e\\u2066\\u200f\\u2028\\udb40\\udc41z';

class Written implements Output {
  text = '';
  write(text: string): void {
    this.text += text;
  }
}

const reference = `registry.example/app:${HOSTILE}`;
const image = { run: 'run', source: 'registry.example/app', repository: 'registry.example/app', reference };

function tell(printer: Printer): void {
  printer.event({ type: 'resolved', ...image, missing: 1, missingBytes: 1, blobs: [], fetchedBytes: 1 });
  printer.event({ type: 'image', ...image, status: 'failed', code: 'denied', reason: HOSTILE });
  printer.notice(HOSTILE);
  const outcome = {
    reference,
    repository: image.repository,
    digest: null,
    status: 'failed',
    reason: HOSTILE,
    bytes: 0,
  };
  printer.summary({ ...NOTHING, failed: 1, images: [{ ...outcome, status: 'failed' }] });
  printer.close();
}

test('plain output escapes control and format characters of foreign text', () => {
  const out = new Written();
  tell(plainPrinter(out, out));
  expect(out.text).toContain(ESCAPED);
  expect(out.text.replaceAll('\n', '')).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u);
});

test('a terminal gets only the control sequences that redraw and colour', () => {
  const out = new Written();
  tell(terminalPrinter(Object.assign(out, { columns: 400, rows: 20 })));
  expect(out.text).toContain(ESCAPED);
  expect(out.text.replaceAll(/\r\u001b\[J|\u001b\[(?:1;31m|0m|1A)|\n/g, '')).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u);
});

test('JSON output escapes characters that JSON keeps, without changing its value', () => {
  const out = new Written();
  tell(jsonPrinter(out, out));
  expect(out.text.replaceAll('\n', '')).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u);
  expect(JSON.parse(out.text.split('\n')[1] ?? '')).toMatchObject({ reference, reason: HOSTILE });
});

test('the error of a command escapes the text of the command line', async () => {
  const [stdout, stderr] = [new Written(), new Written()];
  const signal = new AbortController().signal;
  expect(await main(['sync', HOSTILE, '--to', 'x'], { stdout, stderr, env: {}, signal })).toBe(2);
  expect(stderr.text.replaceAll('\n', '')).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u);
});
