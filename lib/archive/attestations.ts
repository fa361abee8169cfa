/**
 * Keeps the first bundle of each attestation. ECDSA signatures differ each time, so a conditional write lets all
 * writers use the same one.
 */
import { Failure } from '../core/failure.ts';
import type { Cancel } from '../store/store.ts';
import type { Archive } from './archive.ts';

/** Bytes of a bundle, which lists the manifests and blobs of one image. */
const MAX_BYTES = 4 * 1024 * 1024;

/** The bundle with this name; `make` is called if there is none. */
export async function keptAttestation(
  { store, layout }: Archive,
  name: string,
  make: () => Promise<Uint8Array>,
  options: Cancel = {},
): Promise<Uint8Array> {
  const key = layout.attestation(name);
  const read = async (): Promise<Uint8Array | undefined> =>
    (await store.get(key, { maxBytes: MAX_BYTES, ...options }))?.bytes;
  const kept = await read();
  if (kept !== undefined) return kept;
  const made = await make();
  try {
    await store.put(key, made, { condition: { absent: true }, contentType: 'application/json', ...options });
    return made;
  } catch (error) {
    if (!(error instanceof Failure) || error.code !== 'precondition-failed') throw error;
    const first = await read();
    if (first === undefined) throw error;
    return first;
  }
}
