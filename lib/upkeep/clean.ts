import type { Archive } from '../archive/archive.ts';

/** Nobody goes on with an upload that has lain for so long; the bucket's lifecycle rule says the same (docs/s3.md). */
export const MAX_UPLOAD_AGE_MS = 7 * 24 * 60 * 60 * 1000;

/**
 * Aborts the unfinished uploads that nobody will resume: those of blobs that are proven by now, and those that are too
 * old. What they hold costs storage, and no listing of objects shows it. Resolves to how many there were.
 */
export async function cleanUploads(
  archive: Archive,
  options: { readonly now: number; readonly signal: AbortSignal; readonly maxAgeMs?: number },
): Promise<number> {
  const { now, signal, maxAgeMs = MAX_UPLOAD_AGE_MS } = options;
  let aborted = 0;
  for await (const upload of archive.store.uploads(archive.layout.blobs, { signal })) {
    const tooOld = now - upload.initiated.getTime() > maxAgeMs;
    if (!tooOld && !(await isProven(archive, upload.key, signal))) continue;
    await archive.store.abortUpload(upload, { signal });
    aborted += 1;
  }
  return aborted;
}

async function isProven(archive: Archive, key: string, signal: AbortSignal): Promise<boolean> {
  const digest = archive.layout.digestOf(key);
  return digest !== undefined && (await archive.receipt(digest, { signal })) !== undefined;
}
