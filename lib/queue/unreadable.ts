import { defined } from '../core/defined.ts';
import { isDigest, type Digest } from '../oci/digest.ts';
import { Place } from '../oci/document.ts';
import { isTag } from '../oci/reference.ts';
import type { Wanted } from './messages.ts';
import { MAX_MESSAGE_BYTES, readRepository, readRun } from './parse.ts';

/** The images of a message that this release cannot handle. */
export interface Named {
  readonly run: string;
  readonly source: string;
  readonly repository: string;
  readonly images: readonly NamedImage[];
}

interface NamedImage {
  /** As requested; neither tag nor digest where the message names a repository only. */
  readonly asked: Wanted;
  /** The digest that upstream had, where the message contains it. */
  readonly digest?: Digest;
}

/**
 * Reads only the fields that identify the images of a message, in any version, so that a message that no release has
 * handled is recorded as a failure. Undefined where the text does not name a run and a repository.
 */
export function namesInUnreadable(text: string): Named | undefined {
  if (text.length > MAX_MESSAGE_BYTES) return undefined;
  try {
    const place = new Place('read message', '', text).json();
    return {
      run: readRun(place.at('run')),
      source: readRepository(place.at('source')),
      repository: readRepository(place.at('repository')),
      images: imagesOf(place),
    };
  } catch {
    return undefined;
  }
}

function imagesOf(place: Place): readonly NamedImage[] {
  const one = place.at('image');
  if (one.given) return [imageOf(one)];
  const many = place.at('what').optional((what) => what.at('images').optionalList(MAX_MESSAGE_BYTES));
  return many === undefined || many.length === 0 ? [{ asked: {} }] : many.map(imageOf);
}

function imageOf(place: Place): NamedImage {
  const { tag, digest } = nameOf(place);
  const asked = place.at('asked').optional(nameOf) ?? (tag === undefined ? defined({ digest }) : { tag });
  return defined({ asked, digest });
}

function nameOf(place: Place): Wanted {
  const tag = place.at('tag').optionalText();
  const digest = place.at('digest').optionalText();
  return defined({
    tag: tag !== undefined && isTag(tag) ? tag : undefined,
    digest: digest !== undefined && isDigest(digest) ? digest : undefined,
  });
}
