/**
 * An object's own value at a key that another program chose. A plain read finds `constructor` and its like in every object.
 */
export function own<T>(object: Readonly<Record<string, T>>, key: string): T | undefined {
  // eslint-disable-next-line mirror-sync/no-computed-record -- the one place that asks first
  return Object.hasOwn(object, key) ? object[key] : undefined;
}
