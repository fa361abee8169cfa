/** Writes mirror.schema.json, with which editors check mirror.yaml, from the validator's definition. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { format, resolveConfig } from 'prettier';
import { jsonSchema } from '../lib/config/json-schema.ts';

const FILE = join(import.meta.dirname, '..', 'mirror.schema.json');

const options = await resolveConfig(FILE);
await writeFile(FILE, await format(JSON.stringify(jsonSchema()), { ...options, filepath: FILE }));
