import fc from 'fast-check';
import { expect, test } from 'vitest';
import { printable, quote, show } from '../../../lib/oci/show.ts';

const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u;

test.each([
  ['an escape sequence', '\u001b[31mred', '\\u001b[31mred'],
  ['C1 control sequence introducer', '\u009b31m', '\\u009b31m'],
  ['DEL', 'a\u007f', 'a\\u007f'],
  ['a line end', 'a\r\nb', 'a\\u000d\\u000ab'],
  ['a right-to-left override', 'gpj.\u202eexe', 'gpj.\\u202eexe'],
  ['an isolate', '\u2066a\u2069', '\\u2066a\\u2069'],
  ['a right-to-left mark', '\u200fa', '\\u200fa'],
  ['an Arabic letter mark', '\u061ca', '\\u061ca'],
  ['a zero-width joiner', 'a\u200db', 'a\\u200db'],
  ['a byte order mark', '\ufeffa', '\\ufeffa'],
  ['a line and a paragraph separator', '\u2028\u2029', '\\u2028\\u2029'],
  ['a tag character outside the basic plane', '\u{e0041}', '\\udb40\\udc41'],
])('escapes %s in foreign text', (_, text, expected) => {
  expect(printable(text)).toBe(expected);
});

test('keeps letters, emoji and combining marks unchanged', () => {
  expect(printable('Ärger עברית 日本 🐳 e\u0301')).toBe('Ärger עברית 日本 🐳 e\u0301');
});

test('printable JSON has the same value as the original JSON', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      const json = printable(JSON.stringify({ text }));
      expect(json).not.toMatch(UNPRINTABLE);
      expect(JSON.parse(json)).toEqual({ text });
    }),
  );
});

test('show and quote return printable text of bounded length on one line', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 3000 }), (text) => {
      for (const shown of [show(text), quote(text)]) expect(shown).not.toMatch(UNPRINTABLE);
      expect(quote(text).length).toBeLessThanOrEqual(201);
    }),
  );
});
