/** Reads a document that is shown or compared, and never relied on: a value of another type than expected counts as missing. */
import { JsonFault, readJson } from './json.ts';

/** Undefined for bytes that are not a JSON object. */
export function objectIn(bytes: Uint8Array): Record<string, unknown> | undefined {
  try {
    const value = readJson(new TextDecoder().decode(bytes));
    return isObject(value) ? value : undefined;
  } catch (error) {
    if (error instanceof JsonFault) return undefined;
    throw error;
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function objectOf(value: unknown): Record<string, unknown> {
  return isObject(value) ? value : {};
}

export function arrayOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

export function textOf(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

export function listOf(value: unknown): readonly string[] {
  return arrayOf(value).map(textOf);
}
