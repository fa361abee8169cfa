/** Reads fields of messages (parse.ts). */
import { Failure } from '../core/failure.ts';
import type { Place } from '../oci/document.ts';
import { show } from '../oci/show.ts';

/** A later release may add a choice, so a message with an unknown choice waits. */
export function oneOf<T extends string>(place: Place, choices: readonly T[]): T {
  const text = place.text();
  const choice = choices.find((each) => each === text);
  if (choice === undefined) throw place.fail(`must be one of ${choices.join(', ')}, not ${show(text)}`, 'unsupported');
  return choice;
}

export function optional<T>(place: Place, read: (place: Place) => T): T | undefined {
  return place.given ? read(place) : undefined;
}

/** Adds the field's path to a parser's failure. */
export function attempt<T>(place: Place, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    throw place.fail(error instanceof Failure ? error.message : String(error));
  }
}
