/**
 * Which parts of an upload have landed: a line a part, appended after its bytes were written.
 *
 * A process may be killed, or the disk be full, in the middle of a line. So every record begins on a line of its own and
 * ends with a word of fixed length, and whatever is not a whole record counts as nothing.
 */
import { randomBytes } from 'node:crypto';
import type { Part } from '../store.ts';

const RECORD = /^([1-9]\d{0,8}) (\d{1,15}|-) ([0-9a-f]{16})$/;

export function newEtag(): string {
  return randomBytes(8).toString('hex');
}

/** That a part has landed; it counts instead of one of the same number before it. */
export function landed({ number, size, etag }: Part): string {
  return `\n${number} ${size} ${etag}\n`;
}

/** That a part is about to be overwritten, or cut off: until it lands again it is not there. */
export function lost(number: number): string {
  return `\n${number} - ${newEtag()}\n`;
}

/** The parts that are there, by number. */
export function parseJournal(text: string): Map<number, Part> {
  const parts = new Map<number, Part>();
  // What follows the last newline was not written to its end.
  for (const line of text.split('\n').slice(0, -1)) {
    const [, number, size, etag = ''] = RECORD.exec(line) ?? [];
    if (number === undefined) continue;
    if (size === '-') parts.delete(Number(number));
    else parts.set(Number(number), { number: Number(number), size: Number(size), etag });
  }
  return parts;
}
