import { attestorWith } from '../lib/app/attest-key.ts';
import { VERSION } from '../lib/app/version.ts';
import { parseAttestationKey } from '../lib/attest/key.ts';
import type { Attestor } from '../lib/sync/finalizer/attest.ts';
import { secretFrom } from './aws.ts';

/** The signer of attestations, with a key in KMS or in a secret; undefined without a key. */
export function attestorFrom(arn: string | undefined): (() => Promise<Attestor>) | undefined {
  if (arn?.includes(':secretsmanager:') !== true) return attestorWith(arn);
  const key = secretFrom(arn, parseAttestationKey);
  return async () => ({ key: await key(), version: VERSION, now: Date.now });
}
