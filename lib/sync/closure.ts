/**
 * Checks that the archive holds the whole closure of a reference, proven. The finalizer checks a closure before it
 * writes the reference, and `verify` checks it later.
 */
import { Failure } from '../core/failure.ts';
import type { Archive } from '../archive/archive.ts';
import { parseImageConfig } from '../oci/config.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { type Digest, digestParts } from '../oci/digest.ts';
import { type IndexManifest, MANIFEST_LIMITS, type Manifest, parseManifest } from '../oci/manifest.ts';
import { compressionOf, isTarLayer } from '../oci/mediatype.ts';
import type { Platform } from '../oci/platform.ts';
import { type Referral, referralOf } from '../oci/referral.ts';
import { isAttestation, PlatformChoice } from '../oci/platform-choice.ts';
import type { PlatformPolicy, Scope } from '../queue/messages.ts';
import { type Blob, type Claims, claimingConfig, claimsOf, isLeftOut, isManifest } from './claims.ts';
import { turnToParse } from './large-manifests.ts';
import { algorithmsOf } from '../proof/algorithms.ts';
import type { Proven } from './receipts.ts';

/** Configs of images are small documents: moby refuses more than 4 MB as well. */
export const MAX_CONFIG_BYTES = 4 * 1024 * 1024;

/** Reads an archive for a check of closures. */
export interface ClosureReader {
  /** Whether a blob has any proof. */
  readonly has: (digest: Digest) => Promise<boolean>;
  /** Verified bytes, or undefined where the archive lacks them. */
  readonly content: (digest: Digest, maxBytes: number) => Promise<Uint8Array | undefined>;
  /** The proof of a blob, if it covers all claims about the blob; otherwise undefined. */
  readonly proof: (blob: Blob) => Promise<Proven | undefined>;
  /** The time at which the proof of a missing blob was revoked, in milliseconds since the epoch. */
  readonly revoked?: (digest: Digest) => number | undefined;
}

export type ClosureState =
  | {
      readonly complete: true;
      /** Bytes of all objects, each counted once. */
      readonly bytes: number;
      /** Every object of the closure with its bytes. */
      readonly objects: ReadonlyMap<Digest, number>;
      /** Every manifest of the closure with its media type; the first is the root. */
      readonly manifests: ReadonlyMap<Digest, string>;
      /** Warnings, each a sentence. */
      readonly notes: readonly string[];
      /** Platforms of the scope that the image does not have. */
      readonly absent: readonly Platform[];
      /** The subject and the artifact type that the root states, if it refers to another manifest. */
      readonly referral: Referral;
    }
  /** The first missing object, and whether it is a manifest or a config. */
  | { readonly complete: false; readonly missing: Digest; readonly isDocument: boolean };

/** A manifest of a closure; without `manifest` where the archive lacks it. */
export interface Node {
  readonly digest: Digest;
  readonly bytes: number;
  readonly manifest: Manifest | undefined;
  /**
   * Whether the manifest or its content may be missing: an image of some platforms runs without its attestations.
   */
  readonly optional: boolean;
}

type Found = Pick<Descriptor, 'digest' | 'platform'> & { readonly optional: boolean };

/**
 * Yields the manifests of a closure, parents first. Throws a Failure where one is corrupt or cannot be parsed, and at
 * the end where none of the platforms was found.
 */
export async function* traverse(
  root: Digest,
  platforms: PlatformPolicy,
  content: ClosureReader['content'],
  choice = new PlatformChoice(platforms),
): AsyncGenerator<Node, void, void> {
  const seen = new Set([root]);
  let level: readonly Found[] = [{ digest: root, optional: false }];
  for (let depth = 0; level.length > 0; depth += 1) {
    const below: Found[] = [];
    for (const { digest, platform, optional } of level) {
      const bytes = await content(digest, MANIFEST_LIMITS.bytes);
      using _ = await turnToParse(bytes?.length ?? 0);
      const manifest = bytes === undefined ? undefined : parseManifest(bytes);
      if (manifest?.kind === 'index') {
        if (depth >= MANIFEST_LIMITS.nesting)
          throw refuse(digest, 'too-deep', `indexes are nested more than ${MANIFEST_LIMITS.nesting} deep`);
        for (const child of childrenOf(manifest, choice))
          if (!seen.has(child.digest)) {
            seen.add(child.digest);
            const of = child.platform === undefined ? {} : { platform: child.platform };
            below.push({ digest: child.digest, ...of, optional: platforms !== 'all' && isAttestation(child) });
          }
      }
      yield { digest, bytes: bytes?.length ?? 0, manifest, optional };
      if (manifest?.kind === 'image' && platform === undefined && choice.undecided)
        choice.image(await platformOf(manifest, content));
    }
    level = below;
  }
  choice.conclude();
}

async function platformOf(manifest: Manifest, content: ClosureReader['content']): Promise<Platform | undefined> {
  const config = claimingConfig(manifest);
  const bytes = config === undefined ? undefined : await content(config.digest, MAX_CONFIG_BYTES);
  return bytes === undefined ? undefined : parseImageConfig(bytes).platform;
}

/**
 * Checks that an image in the archive has one of the platforms, and reads only the manifests that this requires.
 *
 * @throws {Failure} `no-platform`
 */
export async function checkPlatforms(
  root: Digest,
  platforms: PlatformPolicy,
  content: ClosureReader['content'],
): Promise<void> {
  const choice = new PlatformChoice(platforms);
  for await (const _ of traverse(root, platforms, content, choice)) if (choice.matched) return;
}

/** The wanted manifests of an index. */
export function childrenOf({ manifests }: IndexManifest, choice: PlatformChoice): readonly Descriptor[] {
  return choice.among(manifests.filter(isManifest));
}

/**
 * Walks a closure, the blobs of each manifest in the order of `byArrival`, and stops at the first missing object. Throws a Failure
 * where the objects contradict each other.
 *
 * @param options.mayLack whether an optional manifest may lack its config or blobs; by default it may not, since they
 *   may still arrive
 */
export async function checkClosure(
  root: Digest,
  scope: Scope,
  reader: ClosureReader,
  { mayLack = () => false }: { readonly mayLack?: (attestation: Digest) => boolean } = {},
): Promise<ClosureState> {
  const objects = new Map<Digest, number>();
  const manifests = new Map<Digest, string>();
  let referral: Referral = {};
  const notes = new Set<string>();
  const choice = new PlatformChoice(scope.platforms);
  for await (const { digest, bytes, manifest, optional } of traverse(root, scope.platforms, reader.content, choice)) {
    if (manifest === undefined) {
      if (!optional) return { complete: false, missing: digest, isDocument: true };
      notes.add(`attestation ${digest} is missing upstream`);
      continue;
    }
    const found = await checkManifest(digest, manifest, scope, reader);
    if ('missing' in found) {
      if (!optional || !mayLack(digest)) return { complete: false, ...found };
      notes.add(`attestation ${digest} is incomplete upstream: ${found.missing} is missing`);
      continue;
    }
    if (digest === root) referral = referralOf(manifest);
    objects.set(digest, bytes);
    manifests.set(digest, manifest.mediaType);
    for (const [object, size] of found.objects) objects.set(object, size);
    for (const note of found.notes) notes.add(note);
  }
  for (const note of choice.notes) notes.add(note);
  let sum = 0;
  for (const size of objects.values()) sum += size;
  return { complete: true, bytes: sum, objects, manifests, notes: [...notes], absent: choice.absent, referral };
}

/** The config and the blobs of a manifest with their bytes and notes; or the first missing one. */
async function checkManifest(
  digest: Digest,
  manifest: Manifest,
  scope: Scope,
  reader: ClosureReader,
): Promise<
  | { readonly objects: ReadonlyMap<Digest, number>; readonly notes: readonly string[] }
  | { readonly missing: Digest; readonly isDocument: boolean }
> {
  const found = await readClaims(digest, manifest, scope, reader.content);
  if ('missing' in found) return { ...found, isDocument: true };
  const { claims, config } = found;
  const objects = new Map<Digest, number>();
  if (config !== undefined) objects.set(config.digest, config.size);
  const proofs = new Map<Blob, Proven>();
  for (const blob of byArrival(claims.blobs)) {
    const proof = await reader.proof(blob);
    if (proof === undefined) return { missing: blob.digest, isDocument: false };
    proofs.set(blob, proof);
    objects.set(blob.digest, proof.size);
  }
  return { objects, notes: compare(digest, manifest, claims, scope, (blob) => proofs.get(blob)) };
}

/**
 * The blobs of a manifest, from both ends of their sizes. The resolver orders the largest blob first and the smallest
 * one last, and the largest one takes the longest. An incomplete manifest is therefore recognised by its first blobs,
 * also one of a thousand layers.
 */
function byArrival(blobs: readonly Blob[]): readonly Blob[] {
  const bySize = [...blobs].sort((a, b) => (a.size ?? 0) - (b.size ?? 0));
  return bySize.flatMap((_, at) => bySize.at(at % 2 === 0 ? -1 - at / 2 : (at - 1) / 2) ?? []);
}

/** The claims of a manifest, from the config in the archive; or the config that is missing. */
export async function readClaims(
  digest: Digest,
  manifest: Manifest,
  scope: Pick<Scope, 'foreignLayers'>,
  content: ClosureReader['content'],
): Promise<{ readonly claims: Claims; readonly config?: Descriptor } | { readonly missing: Digest }> {
  const config = claimingConfig(manifest);
  if (config === undefined) return { claims: claimsOf(manifest, undefined, scope) };
  const bytes = await content(config.digest, MAX_CONFIG_BYTES);
  if (bytes === undefined) return { missing: config.digest };
  if (bytes.length !== config.size)
    throw refuse(digest, 'size-mismatch', `expected a config of ${config.size} bytes, got ${bytes.length}`);
  try {
    return { claims: claimsOf(manifest, bytes, scope), config };
  } catch (error) {
    if (error instanceof Failure && error.code === 'layers-mismatch') throw refuse(digest, error.code, error.detail);
    throw error;
  }
}

/**
 * Compares the proofs of a manifest's blobs with the manifest's claims: sizes, and the number and order of diffIDs (OCI
 * image spec, config.md, rootfs.diff_ids). Returns notes.
 *
 * @throws {Failure} where they differ
 */
export function compare(
  digest: Digest,
  manifest: Manifest,
  claims: Claims,
  scope: Pick<Scope, 'foreignLayers' | 'strictMediaTypes'>,
  proofOf: (blob: Blob) => Proven | undefined,
): readonly string[] {
  const notes = [...claims.notes];
  for (const blob of claims.blobs) {
    const proof = proofOf(blob);
    if (blob.size !== undefined && proof !== undefined && proof.size !== blob.size)
      throw refuse(digest, 'size-mismatch', `blob ${blob.digest}: expected ${blob.size} bytes, got ${proof.size}`);
    const note = mismatchOf(blob, proof);
    if (note === undefined) continue;
    if (scope.strictMediaTypes === true) throw refuse(digest, 'not-as-declared', note);
    notes.push(note);
  }
  if (manifest.kind !== 'image' || claims.diffIds === undefined) return notes;
  const layers = manifest.layers.map((layer, at) => ({ layer, at })).filter(({ layer }) => !isLeftOut(layer, scope));
  for (const [index, { layer, at }] of layers.entries()) {
    const blob = claims.blobs[index];
    const claimed = claims.diffIds[at];
    if (blob === undefined || claimed === undefined || !isTarLayer(layer.mediaType)) continue;
    const proof = proofOf(blob);
    const found = proof?.diffIds[digestParts(claimed).algorithm];
    if (found === claimed) continue;
    const how = proof?.compression === 'none' ? NOT_UNPACKED : 'unpacks to';
    throw refuse(
      digest,
      'diffid-mismatch',
      `layers from manifest don't match image configuration: layer ${at} (${layer.digest}) ${how} ` +
        `${String(found)}, config ${manifest.config.digest} says ${claimed}`,
    );
  }
  return notes;
}

const NOT_UNPACKED = 'is neither gzip nor zstd (xz and bzip2 are not unpacked), so its diffID is';

/** A layer whose bytes are not compressed as its media type declares. Zero bytes are an empty layer of any type. */
function mismatchOf(blob: Blob, proof: Proven | undefined): string | undefined {
  if (proof?.compression === undefined || proof.size === 0 || algorithmsOf(blob).length === 0) return undefined;
  const declared = compressionOf(blob.mediaType);
  if (proof.compression === declared) return undefined;
  const nameOf = (compression: string): string => (compression === 'none' ? 'plain tar' : compression);
  return `layer ${blob.digest} is declared ${nameOf(declared)}, its bytes are ${nameOf(proof.compression)}`;
}

/** The content that the archive has. Corrupt bytes count as missing: they are fetched again and replaced. */
export async function held(
  archive: Archive,
  digest: Digest,
  options: { readonly maxBytes: number; readonly signal: AbortSignal },
): Promise<Uint8Array | undefined> {
  try {
    return await archive.content(digest, options);
  } catch (error) {
    if (error instanceof Failure && error.code === 'corrupt') return undefined;
    throw error;
  }
}

function refuse(digest: Digest, code: Failure['code'], detail: string): Failure {
  return new Failure({ operation: `check ${digest}`, side: 'source', code, detail });
}
