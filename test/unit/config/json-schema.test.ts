import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import Ajv from 'ajv';
import { describe, expect, test } from 'vitest';
import { parseConfig } from '../../../lib/config/config.ts';
import { jsonSchema } from '../../../lib/config/json-schema.ts';

const COMMITTED = join(import.meta.dirname, '../../../mirror.schema.json');

/** All schemas within a schema. */
function within(schema: unknown): Record<string, unknown>[] {
  if (typeof schema !== 'object' || schema === null) return [];
  return [schema as Record<string, unknown>, ...Object.values(schema).flatMap(within)];
}

describe('the schema for editors', () => {
  // `node scripts/config-schema.ts` writes it.
  test('is current', () => {
    expect(JSON.parse(readFileSync(COMMITTED, 'utf8'))).toEqual(jsonSchema());
  });

  test('refuses unknown keys everywhere, and has only valid patterns', () => {
    const all = within(jsonSchema());
    const objects = all.filter(({ type, properties }) => type === 'object' && properties !== undefined);
    expect(objects.length).toBeGreaterThanOrEqual(5);
    for (const schema of objects) expect(schema['additionalProperties']).toBe(false);
    const patterns = all.flatMap(({ pattern }) => (typeof pattern === 'string' ? [new RegExp(pattern)] : []));
    expect(patterns.some((pattern) => pattern.test('3.20') && !pattern.test('a b'))).toBe(true);
  });

  test('accepts scalars with and without quotes, as the parser does', () => {
    const accepts = new Ajv({ unknownFormats: 'ignore' }).compile(jsonSchema());
    for (const [number, tag] of [
      [3, true],
      ['3', '3.20'],
    ] as const) {
      const file = {
        version: number === 3 ? 1 : '1',
        defaults: { connections: number, tags: { include: [tag], newest: number } },
        registries: { 'a.test': { connections: number } },
        limits: { runImages: number },
        mirrors: [{ source: 'a', tags: [tag] }],
      };
      expect([accepts(file), accepts.errors]).toEqual([true, null]);
      expect(() => parseConfig(JSON.stringify(file), 'mirror.yaml')).not.toThrow();
    }
    expect(accepts({ version: '2', mirrors: [{ source: 'a', tags: 'all' }] })).toBe(false);
    expect(accepts({ version: 1, limits: { runImages: 'x' }, mirrors: [{ source: 'a', tags: 'all' }] })).toBe(false);
  });

  test('describes each setting', () => {
    for (const { properties } of within(jsonSchema()))
      for (const setting of Object.values(properties ?? {}))
        expect(setting).toMatchObject({ description: expect.stringMatching(/\.$/) });
  });
});
