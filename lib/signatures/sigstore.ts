/**
 * Verification with Sigstore's library. Loaded on demand, so that a run without a policy does not load the library. In
 * a Lambda function this is a separate bundle with its own copies of all classes, so it throws only plain errors.
 */
import type { KeyObject } from 'node:crypto';
import { type Bundle, bundleFromJSON } from '@sigstore/bundle';
import { TrustedRoot } from '@sigstore/protobuf-specs';
import { type SignedEntity, toSignedEntity, toTrustMaterial, Verifier } from '@sigstore/verify';
import { JsonFault, readJson } from '../core/json.ts';
import { show } from '../oci/show.ts';
import type { ParsedSignature } from './signature.ts';
import { largest } from '../core/extremes.ts';

/** The maximum bytes of a trusted root; that of Sigstore's public instance has less than 10 KB. */
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
  if (bytes.length > MAX_ROOT_BYTES) throw new Error(`expected at most ${MAX_ROOT_BYTES} bytes, got ${bytes.length}`);
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
    if (!(thrown instanceof JsonFault)) throw new Error('it is not UTF-8', { cause: thrown });
    // The parser's message would quote the file, which may be another one with a secret.
    throw new Error(`it ${thrown.syntax ? 'is not JSON' : thrown.message}`, { cause: thrown });
  }
}

/**
 * Verifies a signature by a certificate: the chain, the proof that the certificate was logged, the log entry or timestamp,
 * and the signature. A kind of log is required only if the root has one; one proven time is always required.
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

/** A time counts only if its authority signed it, in the log's promise of inclusion or in a timestamp. */
function latestTime({ timestamps }: SignedEntity): number {
  const times = timestamps.flatMap((each) => {
    if (each.$case === 'timestamp-authority') return [each.timestamp.signingTime.getTime()];
    return each.tlogEntry.inclusionPromise === undefined ? [] : [Number(each.tlogEntry.integratedTime) * 1000];
  });
  return largest(times);
}
