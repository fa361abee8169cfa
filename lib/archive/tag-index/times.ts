/**
 * The times of a tag index, compared with the clock of this machine. A clock that was once ahead has written times in
 * the future, which would make each later observation count as older.
 */
import { instantFault } from '../../core/instant.ts';
import type { Digest } from '../../oci/digest.ts';
import type { Place } from '../../oci/document.ts';
import { showKey } from '../../oci/show.ts';

/** Reads the times of one document. */
export interface Times {
  /** The number of times that were read as others. */
  readonly moved: number;
  /**
   * Milliseconds since the epoch.
   *
   * @param of the name of the entry (`tagOrDigest`)
   * @throws Failure that names the place
   */
  read(place: Place, text: string, of?: string): number;
}

const REMEDY = 'if that clock is right, verify --repair sets such times to the present';

/** @throws Failure that names the place */
export function readTime(place: Place, text: string): number {
  const ms = Date.parse(text);
  if (Number.isNaN(ms) || new Date(ms).toISOString() !== text)
    throw place.fail('is not a time, such as 2026-01-31T00:00:00.000Z');
  return ms;
}

/** A time of a record with a tag or a digest. */
export function readTimeIn(record: Place, key: string, times: Times): number {
  const place = record.at(key);
  return times.read(place, place.text(), tagOrDigest(record.at('tag').optionalText(), record.at('digest').digest()));
}

export function tagOrDigest(tag: string | undefined, digest: Digest): string {
  return tag === undefined ? digest : `tag ${tag}`;
}

/** Refuses times in the future, with a tolerance for differing clocks. */
export function timesUpTo(now: number): Times {
  const read = (place: Place, text: string): number => {
    const ms = readTime(place, text);
    const fault = instantFault(ms, now, REMEDY);
    if (fault !== undefined) throw place.fail(fault, 'corrupt');
    return ms;
  };
  return { moved: 0, read };
}

/** Accepts times in the future, and finds out which times a second reading puts in their place. */
export class FutureTimes implements Times {
  readonly moved = 0;
  readonly #now: number;
  readonly #ahead = new Set<number>();
  /** The last time that is not in the future, and the last time. An entry without a time has the time 0. */
  #past = 0;
  #last = 0;
  #fault: string | undefined;

  constructor(now: number) {
    this.#now = now;
  }

  /** The reason why other commands refuse the document, with its last time; undefined if they read it. */
  get fault(): string | undefined {
    return this.#fault;
  }

  read(place: Place, text: string, of?: string): number {
    const ms = readTime(place, text);
    if (ms > this.#now) this.#ahead.add(ms);
    else if (ms > this.#past) this.#past = ms;
    if (ms > this.#last) {
      this.#last = ms;
      const fault = instantFault(ms, this.#now, REMEDY);
      if (fault !== undefined) this.#fault = `${place.path}${of === undefined ? '' : ` of ${showKey(of)}`} ${fault}`;
    }
    return ms;
  }

  /**
   * The last time becomes the present, and each earlier time in the future is a millisecond before the next one. So all
   * times keep their order: of two equal times, a rejection could give way to an earlier release.
   */
  inPresent(): PresentTimes {
    const ahead = [...this.#ahead].sort((a, b) => a - b);
    const before = Math.max(this.#now - ahead.length, this.#past);
    return new PresentTimes(new Map(ahead.map((ms, at) => [ms, before + at + 1])));
  }
}

/** Reads each time in the future as one in the present. */
export class PresentTimes implements Times {
  readonly #present: ReadonlyMap<number, number>;
  #moved = 0;

  constructor(present: ReadonlyMap<number, number>) {
    this.#present = present;
  }

  get moved(): number {
    return this.#moved;
  }

  read(place: Place, text: string): number {
    const ms = readTime(place, text);
    const present = this.presentOf(ms);
    if (present !== undefined) this.#moved += 1;
    return present ?? ms;
  }

  /** Undefined for a time that is not in the future. */
  presentOf(ms: number): number | undefined {
    return this.#present.get(ms);
  }
}
