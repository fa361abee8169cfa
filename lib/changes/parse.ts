/** Reads changes from a report, which every writer of the archive can write. Pure. */
import type { Place } from '../oci/document.ts';
import type { Change, Changes, Overlap, SettingsChange } from './changes.ts';
import { WIDE } from './short.ts';

/** @throws Failure that names the field */
export function readChanges(place: Place): Changes {
  const [from, to] = [place.at('from').optionalText(), place.at('to').optionalText()];
  const bytes = place.at('bytes');
  const platforms = place.at('platforms');
  const notes = place.at('notes');
  return {
    ...(from === undefined ? {} : { from }),
    ...(to === undefined ? {} : { to }),
    layers: readOverlap(place.at('layers')),
    ...(bytes.given ? { bytes: readOverlap(bytes) } : {}),
    platforms: { added: readList(platforms.at('added')), removed: readList(platforms.at('removed')) },
    settings: place.at('settings').list(WIDE.list).map(readSettings),
    ...(notes.given ? { notes: readList(notes) } : {}),
  };
}

function readOverlap(place: Place): Overlap {
  return { shared: place.at('shared').size(), added: place.at('added').size(), removed: place.at('removed').size() };
}

function readList(place: Place): readonly string[] {
  // One more note may state how many are left out.
  return place.list(WIDE.list + 1).map((element) => element.text());
}

function readSettings(place: Place): SettingsChange {
  const at = (name: string): Place | undefined => (place.at(name).given ? place.at(name) : undefined);
  const [user, entrypoint, command] = [at('user'), at('entrypoint'), at('command')];
  const [environment, labels, omitted] = [at('environment'), at('labels'), at('omitted')];
  return {
    platforms: readList(place.at('platforms')),
    ...(user === undefined ? {} : { user: readChange(user, (value) => value.text()) }),
    ...(entrypoint === undefined ? {} : { entrypoint: readChange(entrypoint, readList) }),
    ...(command === undefined ? {} : { command: readChange(command, readList) }),
    ...(environment === undefined
      ? {}
      : {
          environment: {
            added: readList(environment.at('added')),
            removed: readList(environment.at('removed')),
            changed: readList(environment.at('changed')),
          },
        }),
    ...(labels === undefined
      ? {}
      : {
          labels: labels
            .list(WIDE.list)
            .map((label) => ({ name: label.at('name').text(), ...readChange(label, (value) => value.text()) })),
        }),
    ...(omitted === undefined ? {} : { omitted: omitted.size() }),
  };
}

function readChange<T>(place: Place, read: (value: Place) => T): Change<T> {
  const value = (name: string): T | null => (place.at(name).given ? read(place.at(name)) : null);
  return { from: value('from'), to: value('to') };
}
