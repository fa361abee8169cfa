/** Search, order and page of a list, from the query of its address. Pure. A value that is not valid counts as missing. */
export interface Query<S extends string> {
  readonly search: string;
  readonly sort: S;
  readonly isDescending: boolean;
  /** Counted from 1. */
  readonly page: number;
}

/** The rows of a page of a list. */
const ROWS = 50;

const MAX_SEARCH = 128;
/** Control and format characters, which no tag or name has. */
const UNSEEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu;

/** @param orders the first one is the default; `-name` in a query is `name` in descending order */
export function queryOf<S extends string>(parameters: URLSearchParams, orders: readonly [S, ...S[]]): Query<S> {
  const text = parameters.get('sort') ?? '';
  const isDescending = text.startsWith('-');
  const sort = orders.find((order) => order === text.slice(isDescending ? 1 : 0));
  const page = /^[1-9]\d{0,6}$/.exec(parameters.get('page') ?? '')?.[0];
  return {
    search: (parameters.get('q') ?? '').replaceAll(UNSEEN, '').trim().slice(0, MAX_SEARCH),
    sort: sort ?? orders[0],
    isDescending: sort !== undefined && isDescending,
    page: Number(page ?? 1),
  };
}

/** The query of a link to the same list with changes; empty if nothing differs from the default. */
export function linkTo<S extends string>(query: Query<S>, changes: Partial<Query<S>>, standard: S): string {
  const { search, sort, isDescending, page } = { ...query, ...changes };
  const parameters = new URLSearchParams();
  if (search !== '') parameters.set('q', search);
  if (sort !== standard || isDescending) parameters.set('sort', (isDescending ? '-' : '') + sort);
  if (page > 1) parameters.set('page', String(page));
  return parameters.size === 0 ? '' : `?${parameters.toString()}`;
}

export interface Slice<T> {
  readonly rows: readonly T[];
  /** The number of the first row, counted from 1. */
  readonly first: number;
  readonly count: number;
  readonly page: number;
  readonly pages: number;
}

/** One page of a list; for a number above the last page, the last page. */
export function sliceOf<T>(all: readonly T[], wanted: number): Slice<T> {
  const pages = Math.max(1, Math.ceil(all.length / ROWS));
  const page = Math.min(wanted, pages);
  const start = (page - 1) * ROWS;
  return { rows: all.slice(start, start + ROWS), first: start + 1, count: all.length, page, pages };
}
