import { defined } from '../core/defined.ts';
import { type Digest, digestOf, digestParts } from './digest.ts';
import type { Place } from './document.ts';
import { readPlatform, type Platform } from './platform.ts';

/** OCI image spec, "Content Descriptors"; Docker's descriptors are the same with fewer fields. */
export interface Descriptor {
  readonly mediaType: string;
  readonly digest: Digest;
  /** Bytes. */
  readonly size: number;
  readonly urls?: readonly string[];
  readonly annotations?: Readonly<Record<string, string>>;
  /** As in the document; compare with `matchesPlatform`. */
  readonly platform?: Platform;
  readonly artifactType?: string;
  /** The content itself, in base64; not checked (`knownContent`). */
  readonly data?: string;
}

/** The number of URLs that are read, more than any foreign layer has. */
const MAX_URLS = 32;

/** @throws {Failure} `invalid`, naming the field */
export function readDescriptor(place: Place): Descriptor {
  return readDescriptorAs(place, place.at('mediaType').mediaType());
}

/** Reads a descriptor whose media type is known from elsewhere. */
export function readDescriptorAs(place: Place, mediaType: string): Descriptor {
  const platform = place.at('platform');
  return defined({
    mediaType,
    digest: place.at('digest').digest(),
    size: place.at('size').size(),
    urls: place
      .at('urls')
      .optionalFirst(MAX_URLS)
      ?.map((url) => url.text()),
    annotations: place.at('annotations').optionalTexts(),
    platform: platform.given ? readPlatform(platform) : undefined,
    artifactType: place.at('artifactType').optionalText(),
    data: place.at('data').optionalText(),
  });
}

/** Content that need not be fetched: zero bytes, and the OCI empty descriptor's `{}` (OCI image spec, manifest.md). */
const FAMILIAR: readonly Uint8Array[] = [new Uint8Array(0), Buffer.from('{}')];

/**
 * The bytes of a descriptor that are known without a request: its own `data` (OCI image spec, descriptor.md), and the
 * content above. Digest and size are checked, and bytes that do not match are ignored.
 */
export function knownContent(
  descriptor: Pick<Descriptor, 'digest' | 'data'> & { readonly size?: number },
): Uint8Array | undefined {
  const { digest, size, data } = descriptor;
  const carried = data === undefined ? [] : [Buffer.from(data, 'base64')];
  return [...FAMILIAR, ...carried].find(
    (bytes) => bytes.length === size && digestOf(bytes, digestParts(digest).algorithm) === digest,
  );
}
