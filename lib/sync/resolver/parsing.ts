/** Parses manifests in turns, and keeps the parts that a walk needs. A large manifest is dropped while its config arrives. */
import { defined } from '../../core/defined.ts';
import type { Descriptor } from '../../oci/descriptor.ts';
import type { Manifest } from '../../oci/manifest.ts';
import { MEDIA_TYPES } from '../../oci/mediatype.ts';
import type { Platform } from '../../oci/platform.ts';
import { type Blob, type Claims, claimingConfig } from '../claims.ts';
import { isLargeManifest, turnToParse } from '../large-manifests.ts';

/** A blob, with its content (base64) if its descriptor embeds it. */
export type NeededBlob = Blob & Pick<Descriptor, 'data'>;

export interface Opened {
  /** The bytes to store. */
  readonly content: Uint8Array;
  /** The descriptor of the config to read. */
  readonly config: Descriptor | undefined;
  /** Missing if the manifest is large, so that it is not in memory while its config arrives. */
  readonly manifest: Manifest | undefined;
}

/** The needs of a manifest, without its annotations, which may be megabytes. */
export interface Needs {
  /** The media type of its stored bytes. */
  readonly mediaType: string;
  readonly isImage: boolean;
  readonly platform: Platform | undefined;
  readonly blobs: readonly NeededBlob[];
}

/** Runs work that parses a manifest of these bytes; of large manifests, one at a time in the process. */
export async function inTurn<T>(bytes: Uint8Array, signal: AbortSignal, work: () => T): Promise<T> {
  using _turn = await turnToParse(bytes.length, signal);
  return work();
}

export function opened(manifest: Manifest, bytes: Uint8Array): Opened {
  // The digest of a signed schema1 manifest covers its payload, so the payload is stored.
  const content = manifest.kind === 'schema1' ? manifest.payload : bytes;
  const config = claimingConfig(manifest);
  return { content, config, manifest: isLargeManifest(bytes.length) ? undefined : manifest };
}

export function needsOf(manifest: Manifest, { config, blobs }: Claims): Needs {
  return {
    // A signed schema1 manifest is stored without its signatures, so its stored form has the media type of unsigned ones.
    mediaType: manifest.kind === 'schema1' ? MEDIA_TYPES.schema1 : manifest.mediaType,
    isImage: manifest.kind === 'image',
    platform: config?.platform,
    blobs: blobs.map(withoutAnnotations),
  };
}

function withoutAnnotations({ digest, mediaType, size, urls, data, diffIds }: NeededBlob): NeededBlob {
  return defined({ digest, mediaType, size, urls, data, diffIds });
}
