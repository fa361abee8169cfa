/** Reads changes from a report, which every writer of the archive can write. Pure. */
import { defined } from '../core/defined.ts';
import type { Place } from '../oci/document.ts';
import type { Change, Changes, Overlap, SettingsChange } from './changes.ts';
import { WIDE } from './short.ts';

/** @throws Failure that names the field */
export function readChanges(place: Place): Changes {
  const platforms = place.at('platforms');
  return defined({
    from: place.at('from').optionalText(),
    to: place.at('to').optionalText(),
    layers: readOverlap(place.at('layers')),
    bytes: place.at('bytes').optional(readOverlap),
    platforms: { added: readList(platforms.at('added')), removed: readList(platforms.at('removed')) },
    settings: place.at('settings').list(WIDE.list).map(readSettings),
    notes: place.at('notes').optional(readList),
  });
}

function readOverlap(place: Place): Overlap {
  return { shared: place.at('shared').size(), added: place.at('added').size(), removed: place.at('removed').size() };
}

function readList(place: Place): readonly string[] {
  // One more note may state how many are left out.
  return place.list(WIDE.list + 1).map((element) => element.text());
}

function readSettings(place: Place): SettingsChange {
  return defined({
    platforms: readList(place.at('platforms')),
    user: place.at('user').optional(readTextChange),
    entrypoint: place.at('entrypoint').optional((change) => readChange(change, readList)),
    command: place.at('command').optional((change) => readChange(change, readList)),
    environment: place.at('environment').optional((names) => ({
      added: readList(names.at('added')),
      removed: readList(names.at('removed')),
      changed: readList(names.at('changed')),
    })),
    labels: place.at('labels').optional((labels) => labels.list(WIDE.list).map(readLabel)),
    omitted: place.at('omitted').optional((omitted) => omitted.size()),
  });
}

function readLabel(place: Place): Change<string> & { readonly name: string } {
  return { name: place.at('name').text(), ...readTextChange(place) };
}

function readTextChange(place: Place): Change<string> {
  return readChange(place, (value) => value.text());
}

function readChange<T>(place: Place, read: (value: Place) => T): Change<T> {
  return { from: place.at('from').optional(read) ?? null, to: place.at('to').optional(read) ?? null };
}
