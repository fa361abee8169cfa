import { expect, test } from 'vitest';
import { Pieces } from '../../../lib/core/pieces.ts';
import { randomBytes } from '../../kit/content.ts';

const CONTENT = randomBytes(100_000, 1);

function piecesOf(content: Buffer, length: number): Buffer[] {
  const count = Math.ceil(content.length / length);
  return Array.from({ length: count }, (_, n) => content.subarray(n * length, (n + 1) * length));
}

test.each([1, 7, 1000, 16_384, 16_385, 60_000])('pieces of %i bytes are joined in their order', (length) => {
  const pieces = new Pieces();
  for (const piece of piecesOf(CONTENT, length)) pieces.push(piece);
  expect(pieces.joined().equals(CONTENT)).toBe(true);
});

test('small pieces are kept as few large ones, and large pieces are not copied', () => {
  const pieces = new Pieces();
  const large = Buffer.alloc(20_000);
  pieces.push(large);
  for (const piece of piecesOf(CONTENT, 1)) pieces.push(piece);
  expect(pieces.shift()).toBe(large);
  const lengths: number[] = [];
  for (let piece = pieces.shift(); piece !== undefined; piece = pieces.shift()) lengths.push(piece.length);
  expect(lengths).toEqual([...Array<number>(6).fill(16_384), 100_000 - 6 * 16_384]);
});

test('a removed piece keeps its bytes when others follow', () => {
  const pieces = new Pieces();
  for (const text of ['a', 'b', 'c']) pieces.push(Buffer.from(text));
  const removed = pieces.shift();
  for (const text of ['d', 'e']) pieces.push(Buffer.from(text));
  expect([removed, pieces.shift(), pieces.shift()].map((piece) => piece?.toString())).toEqual(['abc', 'de', undefined]);
});

test('cleared pieces are gone', () => {
  const pieces = new Pieces();
  for (const text of ['a', 'b']) pieces.push(Buffer.from(text));
  pieces.clear();
  pieces.push(Buffer.from('c'));
  expect(pieces.joined().toString()).toBe('c');
});
