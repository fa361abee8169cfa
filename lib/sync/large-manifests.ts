import { Permits } from '../core/semaphore.ts';

/**
 * Manifests from this size on are read one at a time in a process: parsed, one of 4 MiB takes fifty, and the resolver has
 * 512 MB on Lambda. Manifests of images have some kilobytes.
 */
const LARGE_BYTES = 256 * 1024;

const permits = new Permits(1);

export function isLargeManifest(bytes: number): boolean {
  return bytes >= LARGE_BYTES;
}

/** Runs `work`, alone among all that read large manifests where `isLarge`. It must not read another one. */
export function aloneIf<T>(isLarge: boolean, work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
  return isLarge ? permits.with(work, signal) : work();
}

/** The same for work that is not one function. Dispose of it when the manifest is not used any more. */
export async function turnFor(bytes: number): Promise<Disposable> {
  if (!isLargeManifest(bytes)) return { [Symbol.dispose]: () => undefined };
  await permits.take();
  return {
    [Symbol.dispose]: () => {
      permits.give();
    },
  };
}
