/** `Math.min` and `Math.max` of lists of any length; as arguments, about 100,000 numbers overflow the stack. */

/** Infinity for an empty list. */
export function smallest(numbers: Iterable<number>): number {
  let found = Infinity;
  for (const number of numbers) found = Math.min(found, number);
  return found;
}

/** -Infinity for an empty list. */
export function largest(numbers: Iterable<number>): number {
  let found = -Infinity;
  for (const number of numbers) found = Math.max(found, number);
  return found;
}
