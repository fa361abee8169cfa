import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { foldsTo, JsonFault, readJson } from '../../../lib/core/json.ts';

function faultOf(text: string): JsonFault {
  try {
    readJson(text);
  } catch (error) {
    if (error instanceof JsonFault) return error;
    throw error;
  }
  throw new Error('the text was read');
}

describe('an untrusted JSON text', () => {
  test('is parsed to the same value as by JSON.parse', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 6 }), fc.constantFrom('', '  ', '\n'), (value, indent) => {
        const text = JSON.stringify(value, undefined, indent);
        expect(readJson(text)).toEqual(JSON.parse(text));
      }),
    );
  });

  test('is refused if an object at any depth has a key twice, however the key is escaped', () => {
    const key = fc.string({ unit: 'binary', maxLength: 5 });
    const wrap = fc.array(fc.constantFrom('[%]', '{"x":%}', '[1,{"y":[%]}]'), { maxLength: 8 });
    fc.assert(
      fc.property(key, wrap, fc.boolean(), (name, layers, escaped) => {
        const plain = JSON.stringify(name);
        const hex = (unit: string): string => unit.charCodeAt(0).toString(16).padStart(4, '0');
        const other = escaped ? `"${name.replace(/[^]/g, (unit) => `\\u${hex(unit)}`)}"` : plain;
        const text = layers.reduce(
          (inner, layer) => layer.replace('%', () => inner),
          `{${plain}:1,"z z":[],${other} :2}`,
        );
        expect(faultOf(text)).toMatchObject({ code: 'invalid', syntax: false });
      }),
    );
  });

  test.each([
    ['{"layers":[1],"layers":[2]}', 'has the key "layers" twice in one object'],
    ['{"a":{"b":1},"c":[{"b":1,"\\u0062":2}]}', 'has the key "b" twice in one object'],
    ['{"__proto__":1,"__proto__":2}', 'has the key "__proto__" twice in one object'],
    ['{"1":1,"1":2}', 'has the key "1" twice in one object'],
    ['{"a\\\\":1,"a\\\\":2}', 'has the key "a\\\\" twice in one object'],
  ])('%s is refused, and the error names the key', (text, message) => {
    expect(faultOf(text).message).toBe(message);
  });

  test.each([
    '{"a":{"a":{"a":1}},"b":[{"a":1},{"a":2}]}',
    '{"a":"{\\"a\\":1}, :,:","A":1}',
    '[":", "\\\\", "\\":"]',
    '"a"',
  ])('%s is accepted because no object has a key twice', (text) => {
    expect(readJson(text)).toEqual(JSON.parse(text));
  });

  test('may nest as deep as the limit, and no deeper', () => {
    const nested = (levels: number): string => '[{"a":'.repeat(levels / 2) + '1' + '}]'.repeat(levels / 2);
    expect(readJson(nested(64))).toEqual(JSON.parse(nested(64)));
    expect(faultOf(nested(66))).toMatchObject({ code: 'too-deep', message: 'nests deeper than 64 levels' });
  });

  test('is refused without a stack overflow if it opens four million arrays', () => {
    expect(faultOf('['.repeat(4 * 1024 * 1024))).toMatchObject({ code: 'too-deep' });
  });

  test.each([
    ['{}', 125_000],
    ['[]', 125_000],
    ['1', 250_000],
    ['"a"', 250_000],
    ['{"a":1}', 83_333],
  ])('may have 250,000 keys and values, and not more: a list of %s', (value, most) => {
    const listOf = (count: number): string => `[${Array<string>(count).fill(value).join(',')}]`;
    expect(readJson(listOf(most))).toHaveLength(most);
    expect(faultOf(listOf(most + 1))).toMatchObject({
      code: 'too-large',
      message: 'has more than 250000 keys and values',
    });
  });

  test('counts neither the commas nor the brackets in its strings', () => {
    const text = JSON.stringify(',:[{'.repeat(100_000));
    expect(readJson(text)).toBe(JSON.parse(text));
  });

  test.each(['', '{', '{"a"}', '[1]]', '{"a":1}x', '\ufeff{}', "{'a':1}", '"\\"'])(
    '%j is not accepted as JSON',
    (text) => {
      expect(faultOf(text)).toMatchObject({ code: 'invalid', syntax: true });
    },
  );
});

describe('foldsTo compares a key with a field as Go does', () => {
  test.each([
    ['Layers', 'layers', true],
    ['layerſ', 'layers', true],
    ['LAYERſ', 'layers', true],
    ['\u212aind', 'kind', true],
    ['mediatype', 'mediaType', true],
    ['MEDIATYPE', 'mediaType', true],
    ['os.VERSION', 'os.version', true],
    ['layers ', 'layers', false],
    ['layer', 'layers', false],
    ['layerß', 'layers', false],
    ['lаyers', 'layers', false],
    ['os_version', 'os.version', false],
    ['[ayers', '{ayers', false],
    ['@', '`', false],
  ])('the key %s matches the field %s: %s', (key, name, expected) => {
    expect(foldsTo(key, name)).toBe(expected);
  });
});
