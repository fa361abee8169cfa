import { Semaphore } from './semaphore.ts';

/**
 * Like `Promise.all`, but waits until all promises have settled, and then throws the first error in the order of
 * `work`.
 */
export async function settleAll<T>(work: readonly Promise<T>[]): Promise<T[]> {
  const outcomes = await Promise.allSettled(work);
  return outcomes.map((outcome) => {
    if (outcome.status === 'rejected') throw outcome.reason;
    return outcome.value;
  });
}

/** Runs `work` for each item, for at most `limit` of them at a time, and settles all of it like `settleAll`. */
export function settleEach<T, U>(items: Iterable<T>, limit: number, work: (item: T) => Promise<U>): Promise<U[]> {
  const permits = new Semaphore(limit);
  return settleAll(Array.from(items, (item) => permits.with(() => work(item))));
}
