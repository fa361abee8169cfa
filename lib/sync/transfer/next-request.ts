import type { PartRange } from '../../store/parts.ts';

/** The state of the buffer pool. */
export interface Memory {
  readonly totalBytes: number;
  /** Bytes of buffers that are full and wait to be hashed or stored. */
  readonly fullBytes: number;
  /** Buffers that are taken and not full. */
  readonly filling: number;
}

/** The most bytes that one request fetches, and so the most that a broken connection or a deadline can waste. */
const MAX_REQUEST_BYTES = 64 * 1024 * 1024;

/**
 * The consecutive parts of the next request for a blob, decided when the first of them has a buffer.
 *
 * - One, as long as any other part of any blob waits for the network: several connections are faster than one.
 * - As many as a request may fetch, once half of the memory is full and waits to be processed, and only this part is not:
 *   one connection is fast enough then, and fewer requests are less work for both sides. No earlier part waits for a
 *   connection, so the blob's buffers become free while the request is read (`PartsInFlight.following`).
 *
 * @param missing the parts without a request, in ascending order
 * @param at the index of the first part of the request
 */
export function nextRequest(missing: readonly PartRange[], at: number, memory: Memory): readonly PartRange[] {
  const first = missing[at];
  if (first === undefined) return [];
  const isAhead = memory.filling === 1 && memory.fullBytes * 2 >= memory.totalBytes;
  const most = isAhead ? Math.max(Math.floor(MAX_REQUEST_BYTES / first.size), 1) : 1;
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
