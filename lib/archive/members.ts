/**
 * Records the child manifests of the indexes of a repository, which its tag index does not name. The finalizer writes a record
 * per child before it writes the reference. So a server needs one read to decide whether a manifest belongs to a repository.
 */
import { Failure } from '../core/failure.ts';
import { Semaphore } from '../core/semaphore.ts';
import { settleAll } from '../core/settle-all.ts';
import type { Digest } from '../oci/digest.ts';
import { Place } from '../oci/document.ts';
import type { Cancel } from '../store/store.ts';
import type { Archive } from './archive.ts';

const MAX_MEMBER_BYTES = 4_096;

/** The number of concurrent writes. */
const SIDE_BY_SIDE = 8;

/** Records manifests with their media types. Repeating it is safe. */
export async function recordMembers(
  { store, layout }: Archive,
  repository: string,
  members: ReadonlyMap<Digest, string>,
  options: Cancel = {},
): Promise<void> {
  const permits = new Semaphore(SIDE_BY_SIDE);
  await settleAll(
    [...members].map(([digest, mediaType]) =>
      permits.with(async () => {
        const bytes = Buffer.from(`${JSON.stringify({ version: 1, mediaType })}\n`);
        await store.put(layout.member(repository, digest), bytes, { contentType: 'application/json', ...options });
      }),
    ),
  );
}

/** The media type of a manifest that belongs to an image of the repository; undefined for any other. */
export async function memberOf(
  { store, layout }: Archive,
  repository: string,
  digest: Digest,
  options: Cancel = {},
): Promise<string | undefined> {
  const key = layout.member(repository, digest);
  const found = await store.get(key, { maxBytes: MAX_MEMBER_BYTES, ...options });
  if (found === undefined) return undefined;
  try {
    return Place.ofBytes(`read ${key}`, found.bytes).at('mediaType').mediaType();
  } catch (error) {
    // The next sync of the image writes it again.
    if (error instanceof Failure) return undefined;
    throw error;
  }
}
