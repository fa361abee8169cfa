import { Semaphore } from '../core/semaphore.ts';
import { parseRepository } from '../oci/reference.ts';
import type { FetchedManifest } from '../registry/source.ts';

/**
 * Manifests of this size and above are parsed one at a time per process: parsing 4 MiB takes fifty MiB, and the resolver
 * has 512 MB on Lambda. Manifests of images have a few kilobytes.
 */
const LARGE_BYTES = 256 * 1024;

const parsing = new Semaphore(1);

/** The turn of each registry, by its host. */
const fetching = new Map<string, Semaphore>();

export function isLargeManifest(bytes: number): boolean {
  return bytes >= LARGE_BYTES;
}

/**
 * Waits until no other large manifest is parsed. The caller disposes of the result when it has dropped the parsed manifest.
 * Meanwhile it waits for no registry, because all registries share this turn.
 */
export function turnToParse(bytes: number, signal?: AbortSignal): Promise<Disposable> {
  return isLargeManifest(bytes) ? parsing.hold(signal) : Promise.resolve(NO_TURN);
}

/**
 * Waits until no other large manifest of this registry is in memory. The caller disposes of the result after its last use
 * of the bytes, and before it waits for another large manifest. It may take a turn to parse meanwhile.
 */
export function turnToFetch(bytes: number, repository: string, signal: AbortSignal): Promise<Disposable> {
  if (!isLargeManifest(bytes)) return Promise.resolve(NO_TURN);
  const { host } = parseRepository(repository);
  const turn = fetching.get(host) ?? new Semaphore(1);
  fetching.set(host, turn);
  return turn.hold(signal);
}

const NO_TURN: Disposable = { [Symbol.dispose]: () => undefined };

/** A fetched manifest that has to wait for its turn. A large one is dropped, and fetched again when it has its turn. */
export function untilItsTurn(fetched: FetchedManifest | undefined): {
  readonly fetched?: FetchedManifest;
  readonly size?: number;
} {
  if (fetched === undefined) return {};
  return isLargeManifest(fetched.bytes.length) ? { size: fetched.bytes.length } : { fetched };
}
