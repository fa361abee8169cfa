/** Fetches the signatures of an image from upstream, with a bound on their number and size. */
import { asFailure, Failure } from '../../core/failure.ts';
import { settleEach } from '../../core/settle-all.ts';
import type { Archive } from '../../archive/archive.ts';
import type { Descriptor } from '../../oci/descriptor.ts';
import type { Digest } from '../../oci/digest.ts';
import { MANIFEST_LIMITS, type Manifest, parseManifest } from '../../oci/manifest.ts';
import type { FetchedManifest, Referrer, Referrers, Source } from '../../registry/source.ts';
import { type FoundSignature, SIGNATURE_LIMITS } from '../../signatures/signature.ts';
import { held } from '../closure.ts';

/** Signatures that are fetched concurrently; the host's connections limit them further. */
const SIDE_BY_SIDE = 8;

/** The artifact types of signatures. A list may lack the type, or name that of the config instead. */
const ARTIFACT_TYPE =
  /^application\/vnd\.(?:dev\.sigstore\.bundle[\w.+;=-]*|dev\.cosign\.artifact\.sig\.v1\+json|oci\.image\.config\.v1\+json|oci\.empty\.v1\+json)$/;

const BUNDLE = /^application\/vnd\.dev\.sigstore\.bundle(?:\.v0\.\d+)?\+json(?:;version=0\.\d+)?$/;
const SIMPLE_SIGNING = 'application/vnd.dev.cosign.simplesigning.v1+json';

export interface FetchedSignatures {
  readonly found: readonly FoundSignature[];
  /** Their manifests and blobs. */
  readonly content: ReadonlyMap<Digest, Uint8Array>;
  /** The signatures that could not be read, each a clause. */
  readonly faults: readonly string[];
}

export interface FetchOptions {
  readonly source: Source;
  readonly archive: Archive;
  readonly signal: AbortSignal;
}

/** @throws Failure for a temporary problem, so that no image counts as unverified because of it */
export async function fetchSignatures(referrers: Referrers, options: FetchOptions): Promise<FetchedSignatures> {
  return new Fetch(options).run(referrers.manifests);
}

class Fetch {
  readonly #o: FetchOptions;
  readonly #found: FoundSignature[] = [];
  readonly #content = new Map<Digest, Uint8Array>();
  readonly #faults: string[] = [];
  #left: number = SIGNATURE_LIMITS.signatures;

  constructor(options: FetchOptions) {
    this.#o = options;
  }

  async run(referrers: readonly Referrer[]): Promise<FetchedSignatures> {
    const candidates = referrers.filter(
      ({ artifactType }) => artifactType === undefined || ARTIFACT_TYPE.test(artifactType),
    );
    await settleEach(candidates.slice(0, SIGNATURE_LIMITS.signatures), SIDE_BY_SIDE, (each) => this.#one(each));
    return { found: this.#found, content: this.#content, faults: this.#faults };
  }

  async #one(referrer: Referrer): Promise<void> {
    try {
      await this.#read(referrer);
    } catch (thrown) {
      const failure = asFailure(thrown, 'read signature', 'source');
      if (failure.remedy !== 'never') throw failure;
      this.#faults.push(`signature ${referrer.tag ?? referrer.digest}: it cannot be read (${failure.detail})`);
    }
  }

  async #read({ digest, mediaType, tag }: Referrer): Promise<void> {
    const bytes = await manifestBytes(digest, undefined, this.#o);
    const manifest = parseManifest(bytes, mediaType);
    for (const layer of layersOf(manifest)) {
      const isBundle = BUNDLE.test(layer.mediaType);
      if (!isBundle && layer.mediaType !== SIMPLE_SIGNING) continue;
      if (this.#left === 0) return;
      this.#left -= 1;
      const content = await this.#blob(layer, isBundle ? SIGNATURE_LIMITS.bundleBytes : SIGNATURE_LIMITS.payloadBytes);
      this.#content.set(digest, bytes).set(layer.digest, content);
      const name = tag ?? digest;
      this.#found.push(
        isBundle
          ? { kind: 'bundle', name, bytes: content }
          : { kind: 'simple-signing', name, payload: content, annotations: layer.annotations ?? {} },
      );
    }
  }

  async #blob({ digest, size }: Descriptor, maxBytes: number): Promise<Uint8Array> {
    const { archive, source, signal } = this.#o;
    if (size > maxBytes)
      throw new Failure({
        operation: `read ${digest}`,
        side: 'source',
        code: 'too-large',
        detail: `expected at most ${maxBytes} bytes, got ${size}`,
      });
    const kept = await held(archive, digest, { maxBytes, signal });
    return kept ?? source.smallBlob(digest, { maxBytes, size, signal });
  }
}

/** The bytes of a manifest, which is fetched only if the archive lacks it. */
export async function manifestBytes(
  digest: Digest,
  fetched: FetchedManifest | undefined,
  { archive, source, signal }: FetchOptions,
): Promise<Uint8Array> {
  const kept = fetched?.bytes ?? (await held(archive, digest, { maxBytes: MANIFEST_LIMITS.bytes, signal }));
  return kept ?? (await source.manifest(digest, { signal })).bytes;
}

function layersOf(manifest: Manifest): readonly Descriptor[] {
  if (manifest.kind === 'image') return manifest.layers;
  return manifest.kind === 'artifact' ? manifest.blobs : [];
}
