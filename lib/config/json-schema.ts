import { definition } from './definition.ts';
import type { JsonSchema } from './schema.ts';

/** The JSON Schema of `mirror.yaml` for editors: what they can check of what `parseConfig` checks. */
export function jsonSchema(): JsonSchema {
  return {
    $schema: 'http://json-schema.org/draft-07/schema#',
    title: 'mirror-sync configuration (mirror.yaml)',
    ...definition.json,
  };
}
