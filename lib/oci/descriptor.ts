import { defined } from '../core/defined.ts';
import type { Digest } from './digest.ts';
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
  /** The content itself, in base64; not checked (`known-content.ts`). */
  readonly data?: string;
}

/** The maximum number of URLs, more than any foreign layer has; each of them may be tried. */
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
      .optionalList(MAX_URLS)
      ?.map((url) => url.text()),
    annotations: place.at('annotations').optionalTexts(),
    platform: platform.given ? readPlatform(platform) : undefined,
    artifactType: place.at('artifactType').optionalText(),
    data: place.at('data').optionalText(),
  });
}
