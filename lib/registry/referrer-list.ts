import { Failure } from '../core/failure.ts';
import { plural } from '../core/format.ts';
import { readDescriptor } from '../oci/descriptor.ts';
import type { Digest } from '../oci/digest.ts';
import { Place } from '../oci/document.ts';
import { MANIFEST_LIMITS } from '../oci/limits.ts';
import { manifestKind } from '../oci/mediatype.ts';
import type { Referrer } from './source.ts';

/** The referrers of one manifest that are mirrored. Images with hundreds of signatures exist, and each is a request. */
const MAX_REFERRERS = 1_000;

/**
 * Characters of a media type, or of an artifact type. Names of types have at most 255 (RFC 6838). A longer artifact type counts as
 * missing in the list: the manifest states it.
 */
const MAX_TYPE_LENGTH = 256;

/** The descriptors of one page that are read; a page has at most 4 MiB. */
const MAX_DESCRIPTORS = 100_000;

/** Collects the referrers of a manifest from lists that a registry sent. */
export class ReferrerList {
  readonly #subject: Digest;
  readonly #types: ReadonlySet<string> | undefined;
  readonly #found = new Map<string, Referrer>();
  readonly #notes: string[] = [];
  #unusable = 0;
  #isFull = false;

  constructor(subject: Digest, types: readonly string[] | undefined) {
    this.#subject = subject;
    this.#types = types === undefined ? undefined : new Set(types);
  }

  get manifests(): readonly Referrer[] {
    return [...this.#found.values()];
  }

  /** The parts that are missing in the list, each a sentence. */
  get notes(): readonly string[] {
    const unusable = `${plural(this.#unusable, 'referrer')} cannot be mirrored: the list does not describe a manifest`;
    const tooMany = `upstream lists more than ${MAX_REFERRERS} referrers; the others are not mirrored`;
    return [...this.#notes, ...(this.#unusable > 0 ? [unusable] : []), ...(this.#isFull ? [tooMany] : [])];
  }

  /** Whether further referrers are dropped. */
  get isFull(): boolean {
    return this.#isFull;
  }

  note(sentence: string): void {
    this.#notes.push(sentence);
  }

  /**
   * Adds the descriptors of an index. An invalid one is counted, and hides no other.
   *
   * @throws Failure `invalid` for any other document
   */
  addPage(bytes: Uint8Array, operation: string): void {
    const descriptors = readIndex(bytes, operation);
    for (const place of descriptors) {
      const referrer = readReferrer(place);
      if (referrer === undefined) this.#unusable += 1;
      else this.add(referrer);
    }
  }

  add(referrer: Referrer): void {
    const { digest, tag, artifactType } = referrer;
    if (digest === this.#subject) return;
    if (this.#types !== undefined && artifactType !== undefined && !this.#types.has(artifactType)) return;
    const key = tag ?? digest;
    if (this.#found.size >= MAX_REFERRERS && !this.#found.has(key)) this.#isFull = true;
    else this.#found.set(key, referrer);
  }
}

function readIndex(bytes: Uint8Array, operation: string): readonly Place[] {
  try {
    const root = Place.ofBytes(operation, bytes);
    return root.at('manifests').optionalList(MAX_DESCRIPTORS) ?? [];
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    const detail = `the list of referrers is invalid (${error.detail})`;
    throw new Failure({ operation, side: 'source', code: error.code, detail, cause: error });
  }
}

/** The fields of a descriptor that are used; undefined for one that does not describe a manifest. */
function readReferrer(place: Place): Referrer | undefined {
  try {
    const { digest, mediaType, size, artifactType } = readDescriptor(place);
    if (manifestKind(mediaType) === undefined || size > MANIFEST_LIMITS.bytes) return undefined;
    if (mediaType.length > MAX_TYPE_LENGTH) return undefined;
    const isKnown = artifactType !== undefined && artifactType.length <= MAX_TYPE_LENGTH;
    return { digest, mediaType, size, ...(isKnown ? { artifactType } : {}) };
  } catch (error) {
    if (error instanceof Failure) return undefined;
    throw error;
  }
}
