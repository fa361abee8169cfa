/** Reads the document of a tag index. */
import { Failure } from '../../core/failure.ts';
import { Place } from '../../oci/document.ts';
import { NO_CONTROL, PROPERTY, readControl } from './control.ts';
import { type Entries, TagIndexDraft } from './draft.ts';
import { readEntry } from './entry.ts';
import { readFormat, readRemoved } from './format.ts';
import type { Times } from './times.ts';

/** The maximum number of entries; more indicate an attack or a mistake. */
const MAX_ENTRIES = 1_000_000;
/** The maximum number of keys and values: an index of 128 MiB has fewer, since an entry has twenty bytes for each. */
const MAX_VALUES = 8_000_000;

export const NO_ENTRIES: Entries = {
  tags: new Map(),
  kept: new Map(),
  others: [],
  removed: new Map(),
  control: NO_CONTROL,
};

/** The parts of a document. */
export interface Parts {
  readonly entries: Entries;
  /** The document without its manifests and without the property of its policy. */
  readonly document: Readonly<Record<string, unknown>>;
  /** The name of the document if a newer release wrote it. */
  readonly newer: string | undefined;
}

/**
 * @param name of the document, in errors
 * @throws Failure `corrupt` with the path; an unreadable entry is not left out, since the next write would lose it.
 *   `unsupported` for a format that this release does not know
 */
export function parseDocument(bytes: Uint8Array, name: string, times: Times): Parts {
  try {
    const place = Place.ofBytes(`read tag index ${name}`, bytes, '', MAX_VALUES);
    if (place.at('schemaVersion').integer() !== 2) throw place.at('schemaVersion').fail('must be 2');
    const { isNewer } = readFormat(place, name);
    const control = readControl(place, times, isNewer);
    const draft = new TagIndexDraft({ ...NO_ENTRIES, removed: readRemoved(place, times), control }, 0);
    for (const manifest of place.at('manifests').list(MAX_ENTRIES)) {
      const entry = readEntry(manifest, times);
      if (!draft.add(entry)) throw manifest.fail(`the tag ${String(entry.tag)} appears twice`);
    }
    const document = Object.entries(place.object()).filter(([key]) => key !== 'manifests' && key !== PROPERTY);
    return { entries: draft.entries, document: Object.fromEntries(document), newer: isNewer ? name : undefined };
  } catch (error) {
    throw error instanceof Failure && error.code !== 'unsupported' ? corrupt(error) : error;
  }
}

function corrupt(fault: Failure): Failure {
  // A time in the future has a remedy of its own.
  const remedy = fault.code === 'corrupt' ? '' : '; restore the object, or move it away and sync again';
  return new Failure({
    operation: fault.operation,
    side: 'archive',
    code: 'corrupt',
    detail: `${fault.detail}${remedy}`,
    cause: fault,
  });
}
