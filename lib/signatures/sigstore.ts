/**
 * Verification with Sigstore's library. Loaded on demand, so that a run without a policy does not load the library. In a function
 * it is a file of its own, whose classes are other ones than those of the function: its errors are plain ones.
 */
import type { KeyObject } from 'node:crypto';
import { type Bundle, bundleFromJSON } from '@sigstore/bundle';
import { TrustedRoot } from '@sigstore/protobuf-specs';
import { type SignedEntity, toSignedEntity, toTrustMaterial, Verifier } from '@sigstore/verify';
import { JsonFault, readJson } from '../core/json.ts';
import { show } from '../oci/show.ts';
import type { ParsedSignature } from './parsed.ts';

/** Bytes of a trusted root. Sigstore's public one has less than 10 KB. */
const MAX_ROOT_BYTES = 1024 * 1024;

const MEDIA_TYPE = /^application\/vnd\.dev\.sigstore\.trustedroot(?:\+json;version=0\.1|\.v0\.[12]\+json)$/;

interface Signed {
  readonly identity?: string;
  readonly issuer?: string;
  /** The time in milliseconds at which an authority saw the signature; the latest one if there are several. */
  readonly at: number;
}

/** The parsed roots of this process: a sync verifies many images with one root. */
const parsedRoots = new WeakMap<Uint8Array, TrustedRoot>();

/**
 * Parses a trusted root (`trusted_root.json`, as TUF distributes it).
 *
 * @throws {Error} with the reason, as a clause
 */
export function parseTrustedRoot(bytes: Uint8Array): TrustedRoot {
  const known = parsedRoots.get(bytes);
  if (known !== undefined) return known;
  const root = readRoot(bytes);
  parsedRoots.set(bytes, root);
  return root;
}

function readRoot(bytes: Uint8Array): TrustedRoot {
  if (bytes.length > MAX_ROOT_BYTES)
    throw new Error(`it has ${bytes.length} bytes, and ${MAX_ROOT_BYTES} is the limit`);
  const root = TrustedRoot.fromJSON(jsonOf(bytes));
  if (!MEDIA_TYPE.test(root.mediaType)) throw new Error(`its mediaType ${show(root.mediaType)} is unknown`);
  if (root.certificateAuthorities.length === 0) throw new Error('it has no certificate authority');
  try {
    toTrustMaterial(root);
  } catch (thrown) {
    throw new Error(`a key or certificate in it cannot be read (${(thrown as Error).message})`, { cause: thrown });
  }
  return root;
}

function jsonOf(bytes: Uint8Array): unknown {
  try {
    return readJson(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (thrown) {
    const { message } = thrown as Error;
    throw new Error(`it ${thrown instanceof JsonFault ? message : 'is not UTF-8'}`, { cause: thrown });
  }
}

/**
 * Verifies a signature by a certificate: the chain, the proof that the certificate was logged, the log entry or timestamp,
 * and the signature. The kinds of logs that the root lacks are not required; one time is always required.
 *
 * @throws {Error} with the reason
 */
export function verifyCertified(parsed: ParsedSignature, rootBytes: Uint8Array): Signed {
  const root = parseTrustedRoot(rootBytes);
  const verifier = new Verifier(toTrustMaterial(root), {
    ctlogThreshold: Math.min(root.ctlogs.length, 1),
    tlogThreshold: Math.min(root.tlogs.length, 1),
    timestampThreshold: 1,
  });
  const entity = entityOf(parsed);
  const { identity } = verifier.verify(entity);
  const name = identity?.subjectAlternativeName;
  const issuer = identity?.extensions?.issuer;
  return {
    ...(name === undefined ? {} : { identity: name }),
    ...(issuer === undefined ? {} : { issuer }),
    at: latestTime(entity),
  };
}

/**
 * The time of a signature by a key, from its log entry or timestamp.
 *
 * @throws {Error} if no authority of the root proves one
 */
export function verifyTime(parsed: ParsedSignature, publicKey: KeyObject, rootBytes: Uint8Array): number {
  const material = toTrustMaterial(parseTrustedRoot(rootBytes), () => ({ publicKey, validFor: () => true }));
  const verifier = new Verifier(material, { ctlogThreshold: 0, tlogThreshold: 0, timestampThreshold: 1 });
  const entity = entityOf(parsed);
  verifier.verify(entity);
  return latestTime(entity);
}

function entityOf({ bundle, artifact }: ParsedSignature): SignedEntity {
  const parsed: Bundle = bundleFromJSON(bundle);
  return toSignedEntity(parsed, artifact === undefined ? undefined : Buffer.from(artifact));
}

/** A time counts only if its authority signed it: the log promised to include the entry, or it is a timestamp. */
function latestTime({ timestamps }: SignedEntity): number {
  const times = timestamps.flatMap((each) => {
    if (each.$case === 'timestamp-authority') return [each.timestamp.signingTime.getTime()];
    return each.tlogEntry.inclusionPromise === undefined ? [] : [Number(each.tlogEntry.integratedTime) * 1000];
  });
  return Math.max(...times);
}
