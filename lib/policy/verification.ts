/** The times at which an image without the required signature is verified again. Pure. */
import { digestOf } from '../oci/digest.ts';
import type { Signer } from './policy.ts';
import { nextCheck } from './referrer-checks.ts';

/** The times of a failed verification, in milliseconds since the epoch. */
interface Failed {
  readonly first: number;
  readonly checked: number;
  /** The name of the signers (`nameOfSigners`) of the last verification; undefined if no signatures were compared. */
  readonly signers?: string;
}

/**
 * A short name for signers and the trusted root of their certificates. A new name requires a new verification. Signers
 * with keys do not depend on the root.
 */
export function nameOfSigners(signers: readonly Signer[], trustedRoot: Uint8Array | undefined): string {
  const root = trustedRoot === undefined || !signers.some((each) => 'identity' in each) ? '' : digestOf(trustedRoot);
  return digestOf(Buffer.from(JSON.stringify([signers, root]))).slice('sha256:'.length, 'sha256:'.length + 16);
}

/**
 * Whether a verification is due: at its scheduled time, and at once after a change of the signers or of the trusted
 * root.
 */
export function isVerificationDue(failed: Failed, signers: string, now: number): boolean {
  if (failed.signers !== signers) return true;
  const next = nextVerification(failed);
  return next !== undefined && next <= now;
}

/** The time of the next verification; undefined after the last one. A signature is often pushed after its image. */
export function nextVerification({ first, checked }: Failed): number | undefined {
  return nextCheck({ observations: [first], checked });
}
