import type { PartRange } from '../../store/parts.ts';

/** The state of the buffer pool. */
export interface Memory {
  readonly totalBytes: number;
  /** Bytes of buffers that are full and wait to be hashed or stored. */
  readonly fullBytes: number;
  /** Buffers that are taken and not full. */
  readonly filling: number;
  /** The number of buffers, up to the last one, that were taken in a row while the network was ahead. */
  readonly takenAhead: number;
}

/** Whether the network is ahead of the processing: no buffer waits for bytes, and half of the memory is full. */
export function isAhead({ totalBytes, fullBytes, filling }: Omit<Memory, 'takenAhead'>): boolean {
  return filling === 0 && fullBytes * 2 >= totalBytes;
}

/** The most bytes that one request fetches, and so the most that a broken connection or a deadline can waste. */
const MAX_REQUEST_BYTES = 64 * 1024 * 1024;

/**
 * The consecutive parts of the next request for a blob, decided when the first of them has a buffer.
 *
 * - One, as long as parts wait for the network: several connections are faster than one.
 * - As many as a request may fetch, once the network is ahead: one connection is fast enough then, and fewer requests are
 *   less work for both sides. No earlier part waits for a connection, so the blob's buffers become free while the request
 *   is read (`PartsInFlight.following`).
 *
 * The network must be ahead twice in a row, so that one part arrived alone while the others were processed. The first
 * concurrent requests over a slow link end at the same moment, and half of the memory is full then as well.
 *
 * @param missing the parts without a request, in ascending order
 * @param at the index of the first part of the request
 */
export function nextRequest(missing: readonly PartRange[], at: number, memory: Memory): readonly PartRange[] {
  const first = missing[at];
  if (first === undefined) return [];
  const isFast = memory.filling === 1 && memory.takenAhead >= 2;
  const most = isFast ? Math.max(Math.floor(MAX_REQUEST_BYTES / first.size), 1) : 1;
  let end = at + 1;
  while (end - at < most && missing[end]?.number === first.number + end - at) end += 1;
  return missing.slice(at, end);
}

/**
 * Whether a request for several parts continues after one of them is full. Once no other part waits, a
 * single connection is not fast enough, and the rest is requested concurrently.
 *
 * @param partBytes the size of that part
 */
export function isFastEnough(partBytes: number, memory: Memory): boolean {
  return memory.fullBytes > partBytes;
}
