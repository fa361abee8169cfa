import type { Archive } from '../archive/archive.ts';

/** An upload of this age is not continued any more; the bucket's lifecycle rule has the same age (docs/s3.md). */
export const MAX_UPLOAD_AGE_MS = 7 * 24 * 60 * 60 * 1000;

/**
 * Aborts the unfinished uploads that no sync will continue: those of proven blobs, and those that are too old. Their
 * parts cost storage, and a listing of objects does not include them. Resolves to the number of aborted uploads.
 */
export async function cleanUploads(
  archive: Archive,
  { now, signal }: { readonly now: number; readonly signal: AbortSignal },
): Promise<number> {
  let aborted = 0;
  for await (const upload of archive.store.uploads(archive.layout.blobs, { signal })) {
    const tooOld = now - upload.initiated.getTime() > MAX_UPLOAD_AGE_MS;
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
