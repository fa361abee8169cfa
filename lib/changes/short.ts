/** Bounds texts and lists. Pure. */

export interface Limits {
  /** Characters of a text. */
  readonly text: number;
  /** Elements of a list. */
  readonly list: number;
}

export const WIDE: Limits = { text: 200, list: 32 };
/** For images with many or long values. */
export const NARROW: Limits = { text: 60, list: 6 };

export function short(text: string, limit: number): string {
  return text.length <= limit ? text : `${text.slice(0, limit - 1)}…`;
}

/** The first elements of a list, shortened. */
export function shortList(all: readonly string[], limits: Limits): readonly string[] {
  return all.slice(0, limits.list).map((text) => short(text, limits.text));
}
