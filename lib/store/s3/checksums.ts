import { invalid } from '../../core/failure.ts';

/** The environment variable that switches checksum headers off, for stores that refuse them. */
export const CHECKSUMS_VARIABLE = 'MIRROR_SYNC_S3_CHECKSUMS';

/** @throws Failure `invalid` for a value other than `on` (the default) and `off` */
export function checksumsFrom(env: Readonly<Record<string, string | undefined>>): boolean {
  const value = env[CHECKSUMS_VARIABLE] ?? '';
  if (value === '' || value === 'on') return true;
  if (value === 'off') return false;
  throw invalid(`read ${CHECKSUMS_VARIABLE}`, `expected on or off, got ${JSON.stringify(value)}`);
}
