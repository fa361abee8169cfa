import { Semaphore } from '../core/semaphore.ts';
import type { FetchedManifest } from '../registry/source.ts';

/**
 * Manifests of this size and above are read one at a time per process: parsing 4 MiB takes fifty MiB, and the resolver
 * has 512 MB on Lambda. Manifests of images have a few kilobytes.
 */
const LARGE_BYTES = 256 * 1024;

const permits = new Semaphore(1);

export function isLargeManifest(bytes: number): boolean {
  return bytes >= LARGE_BYTES;
}

/**
 * Waits until no other large manifest is in use. The caller disposes of the result after its last use of the manifest,
 * and before it waits for another large one.
 */
export async function turnFor(bytes: number, signal?: AbortSignal): Promise<Disposable> {
  if (!isLargeManifest(bytes)) return { [Symbol.dispose]: () => undefined };
  return permits.hold(signal);
}

/** A fetched manifest that has to wait for its turn. A large one is dropped, and fetched again when it has its turn. */
export function untilItsTurn(fetched: FetchedManifest | undefined): {
  readonly fetched?: FetchedManifest;
  readonly size?: number;
} {
  if (fetched === undefined) return {};
  return isLargeManifest(fetched.bytes.length) ? { size: fetched.bytes.length } : { fetched };
}
