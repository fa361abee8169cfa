import * as z from 'zod/mini';
import { definition } from './definition.ts';

/** The JSON Schema of `mirror.yaml`, with which editors check a part of what `parseConfig` checks. */
export function jsonSchema(): Readonly<Record<string, unknown>> {
  const { $schema, ...schema } = z.toJSONSchema(definition, {
    target: 'draft-7',
    io: 'input',
    // zod omits the examples of a schema that converts its text.
    override: ({ zodSchema, jsonSchema }) => Object.assign(jsonSchema, z.globalRegistry.get(zodSchema)),
  });
  return { $schema, title: 'mirror-sync configuration (mirror.yaml)', ...schema };
}
