import { isDigest, type Digest } from '../oci/digest.ts';
import { Place } from '../oci/document.ts';
import { formatRepository, isTag, parseRepository } from '../oci/reference.ts';
import type { Wanted } from './messages.ts';
import { MAX_MESSAGE_BYTES } from './parse.ts';

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
    const run = place.at('run').text();
    const [source, repository] = [place.at('source').text(), place.at('repository').text()];
    // Both become parts of keys in the archive.
    if (!/^[A-Za-z0-9-]{1,128}$/.test(run)) return undefined;
    for (const name of [source, repository]) if (formatRepository(parseRepository(name)) !== name) return undefined;
    return { run, source, repository, images: imagesOf(place) };
  } catch {
    return undefined;
  }
}

function imagesOf(place: Place): readonly NamedImage[] {
  const one = place.at('image');
  if (one.given) return [imageOf(one)];
  const what = place.at('what');
  const many = what.given ? what.at('images').optionalList(MAX_MESSAGE_BYTES) : undefined;
  return many === undefined || many.length === 0 ? [{ asked: {} }] : many.map(imageOf);
}

function imageOf(place: Place): NamedImage {
  const found = nameOf(place);
  const asked = place.at('asked');
  if (asked.given) return { ...digestIn(found), asked: nameOf(asked) };
  return { ...digestIn(found), asked: found.tag === undefined ? found : { tag: found.tag } };
}

function nameOf(place: Place): Wanted {
  const tag = place.at('tag').optionalText();
  const digest = place.at('digest').optionalText();
  return {
    ...(tag !== undefined && isTag(tag) ? { tag } : {}),
    ...(digest !== undefined && isDigest(digest) ? { digest } : {}),
  };
}

function digestIn({ digest }: Wanted): Pick<NamedImage, 'digest'> {
  return digest === undefined ? {} : { digest };
}
