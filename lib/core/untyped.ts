/** Reads a document that is shown or compared, and never relied on: a value of another type than expected counts as missing. */
import { isRecord, readJsonObject } from './json.ts';

/** Undefined for bytes that are not a JSON object. */
export function objectIn(bytes: Uint8Array): Record<string, unknown> | undefined {
  return readJsonObject(new TextDecoder().decode(bytes));
}

export function objectOf(value: unknown): Record<string, unknown> {
  return isRecord(value) ? value : {};
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
