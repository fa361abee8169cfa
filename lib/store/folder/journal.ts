/**
 * The stored parts of an upload: one line per part, appended after its bytes were written.
 *
 * A killed process or a full disk may truncate a line. Every record therefore starts on its own line and ends with a word of
 * fixed length, and incomplete records are ignored.
 */
import { randomBytes } from 'node:crypto';
import type { Part } from '../store.ts';

const RECORD = /^([1-9]\d{0,8}) (\d{1,15}|-) ([0-9a-f]{16})$/;

export function newEtag(): string {
  return randomBytes(8).toString('hex');
}

/** The record of a stored part; it replaces earlier records with the same number. */
export function landed({ number, size, etag }: Part): string {
  return `\n${number} ${size} ${etag}\n`;
}

/** The record of a part that is about to be overwritten or truncated; it is missing until it is stored again. */
export function lost(number: number): string {
  return `\n${number} - ${newEtag()}\n`;
}

/** The stored parts by number. */
export function parseJournal(text: string): Map<number, Part> {
  const parts = new Map<number, Part>();
  // The text after the last newline is an incomplete record.
  for (const line of text.split('\n').slice(0, -1)) {
    const [, number, size, etag = ''] = RECORD.exec(line) ?? [];
    if (number === undefined) continue;
    if (size === '-') parts.delete(Number(number));
    else parts.set(Number(number), { number: Number(number), size: Number(size), etag });
  }
  return parts;
}
