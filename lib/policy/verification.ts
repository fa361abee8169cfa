/** When an image without the required signature is verified again. Pure. */
import { nextCheck } from './referrer-checks.ts';

/** The times of a failed verification, in milliseconds since the epoch. */
interface Failed {
  readonly first: number;
  readonly checked: number;
}

export function isVerificationDue(failed: Failed, now: number): boolean {
  const next = nextVerification(failed);
  return next !== undefined && next <= now;
}

/** The time of the next verification; undefined after the last one. A signature is often pushed after its image. */
export function nextVerification({ first, checked }: Failed): number | undefined {
  return nextCheck({ observations: [first], checked });
}
