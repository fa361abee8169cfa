/** A tag that is a version: `3`, `3.20`, `v1.2.3`, `1.27.0-alpine3.20`, `2.0rc1`. The hash of a commit is not one. */
const VERSION = /^v?(\d+(?:\.\d+)*)(?:[-_+.](.*))?$/i;
const WITHOUT_SEPARATOR = /^v?(\d+(?:\.\d+)+)([a-z].*)$/i;

interface Version {
  readonly numbers: readonly string[];
  readonly suffix: string;
}

export function isVersion(tag: string): boolean {
  return parse(tag) !== undefined;
}

/**
 * The order by which the newest tags are chosen; below 0 where `a` is older. It is total: two tags are equal only if they
 * are the same text.
 *
 * 1. A tag that is not a version is older than every version.
 * 2. Numbers decide, from the left, as numbers: 3.9 is older than 3.20. A version with more numbers is
 *    the newer one: 3.20 is older than 3.20.0, and than every later patch.
 * 3. A version with a suffix is older than the one without (Semantic Versioning 2.0.0, section 11): 1.0-rc.1, then 1.0.
 * 4. Suffixes are in natural order, runs of digits as numbers: rc2, rc10; alpine3.9, alpine3.20.
 * 5. Tags that are still equal are in the order of their characters: 1.0, v1.0.
 */
export function compareVersions(a: string, b: string): number {
  const first = parse(a);
  const second = parse(b);
  if (first === undefined || second === undefined)
    return Number(first !== undefined) - Number(second !== undefined) || byCharacters(a, b);
  return (
    inTurn(first.numbers, second.numbers, asNumbers) ||
    Number(first.suffix === '') - Number(second.suffix === '') ||
    naturally(first.suffix, second.suffix) ||
    byCharacters(a, b)
  );
}

function parse(tag: string): Version | undefined {
  const [, numbers, suffix = ''] = VERSION.exec(tag) ?? WITHOUT_SEPARATOR.exec(tag) ?? [];
  return numbers === undefined ? undefined : { numbers: numbers.split('.'), suffix };
}

function naturally(a: string, b: string): number {
  return inTurn(a.match(/\d+|\D+/g) ?? [], b.match(/\d+|\D+/g) ?? [], (one, other) =>
    /^\d/.test(one) && /^\d/.test(other) ? asNumbers(one, other) : byCharacters(one, other),
  );
}

/** Compares the parts from the left; a list that ends first is the smaller one. */
function inTurn(a: readonly string[], b: readonly string[], compare: (a: string, b: string) => number): number {
  for (let at = 0; at < a.length && at < b.length; at += 1) {
    const order = compare(a[at] ?? '', b[at] ?? '');
    if (order !== 0) return order;
  }
  return a.length - b.length;
}

/** Digits as numbers of any length: a tag may have more digits than a double holds exactly. */
function asNumbers(a: string, b: string): number {
  const first = a.replace(/^0+(?=\d)/, '');
  const second = b.replace(/^0+(?=\d)/, '');
  return first.length - second.length || byCharacters(first, second);
}

function byCharacters(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}
