/** Parts that several pages have. */
import { formatPlatform } from '../../oci/platform.ts';
import { provenPlatforms, type TagEntry } from '../../archive/tag-index/tag-index.ts';
import { linkTo, type Query, type Slice } from './query.ts';
import { foreign, html, type Html, numberOf } from './text.ts';

export interface Column {
  readonly label: string;
  readonly isNumber?: boolean;
  /** The column needs room: `name` for names, `some` for several values, `type` for media types. */
  readonly width?: 'name' | 'some' | 'type';
  /** `aria-sort` of a column by which the list can be sorted, and the query of the link that sorts it. */
  readonly sort?: { readonly state: 'ascending' | 'descending' | 'none'; readonly link: string };
}

/** A table whose first column has the headers of its rows. On a phone, each row is a card; so the roles are written out. */
export function table(caption: Html | string, columns: readonly Column[], rows: readonly (readonly Cell[])[]): Html {
  return html`<table role="table">
    <caption>
      ${caption}
    </caption>
    <thead role="rowgroup">
      <tr role="row">
        ${columns.map(headerOf)}
      </tr>
    </thead>
    <tbody role="rowgroup">
      ${rows.map(
        (cells) =>
          html`<tr role="row">
            ${cells.map((cell, at) => cellOf(cell, columns[at], at === 0))}
          </tr> `,
      )}
    </tbody>
  </table>`;
}

export type Cell = Html | string;

const ARROWS = { ascending: ' ↑', descending: ' ↓', none: '' } as const;

function headerOf({ label, isNumber = false, width, sort }: Column): Html {
  const kind = isNumber ? 'number' : (width ?? 'text');
  if (sort === undefined) return html`<th role="columnheader" scope="col" class="${kind}">${label}</th>`;
  const { state, link } = sort;
  return html`<th role="columnheader" scope="col" class="${kind}" aria-sort="${state}">
    <a href="${link}">${label}</a><span aria-hidden="true">${ARROWS[state]}</span>
  </th>`;
}

function cellOf(cell: Cell, column: Column | undefined, isHeader: boolean): Html {
  if (isHeader) return html`<th role="rowheader" scope="row">${cell}</th>`;
  const kind = `${column?.isNumber === true ? 'number' : 'wide'}${cell === '' ? ' none' : ''}`;
  return html`<td role="cell" class="${kind}" data-label="${column?.label ?? ''}"><div>${cell}</div></td>`;
}

/** A column by which a list can be sorted; the link of the current one reverses the order. */
export function sortable<S extends string>(label: string, sort: S, query: Query<S>, standard: S): Column {
  const isCurrent = query.sort === sort;
  const state = isCurrent ? (query.isDescending ? 'descending' : 'ascending') : 'none';
  const link = linkTo(query, { sort, isDescending: isCurrent && !query.isDescending, page: 1 }, standard);
  return { label, ...(sort === standard ? { width: 'name' } : {}), sort: { state, link: link === '' ? '?' : link } };
}

/** The links to other pages of a list. */
export function pager<S extends string>(slice: Slice<unknown>, query: Query<S>, standard: S): Html | '' {
  const { page, pages } = slice;
  if (pages === 1) return '';
  const link = (label: string, to: number): Html | '' =>
    to < 1 || to > pages || to === page
      ? ''
      : html`<a href="${linkTo(query, { page: to }, standard) || '?'}">${label}</a>`;
  return html`<nav class="pages" aria-label="Pages">
    ${page > 2 ? link('First', 1) : ''} ${link('Previous', page - 1)}
    <span aria-current="page">Page ${numberOf(page)} of ${numberOf(pages)}</span>
    ${link('Next', page + 1)} ${page < pages - 1 ? link('Last', pages) : ''}
  </nav>`;
}

/** `Tags 51 to 100 of 500` */
export function countOf({ first, rows, count }: Slice<unknown>, one: string, many: string): string {
  if (count === 0) return `No ${many}`;
  if (rows.length === count) return `${numberOf(count)} ${count === 1 ? one : many}`;
  return `${numberOf(first)} to ${numberOf(first + rows.length - 1)} of ${numberOf(count)} ${many}`;
}

/** `The first 100 of 2,500`, or the number of all. */
export function shownOf(shown: number, all: number): string {
  return shown < all ? `The first ${numberOf(shown)} of ${numberOf(all)}` : numberOf(all);
}

interface Crumb {
  readonly label: string;
  readonly link: string;
}

/** The breadcrumbs of a page. */
export function crumbs(above: readonly Crumb[]): Html {
  return html`<nav class="path" aria-label="Breadcrumb">
    <ol>
      ${above.map(({ label, link }) => html`<li><a href="${link}">${label}</a></li>`)}
    </ol>
  </nav>`;
}

const CHIPS = 8;

/** Names of platforms; a long list ends with the number of the others. */
export function chips(names: readonly string[]): Html | '' {
  if (names.length === 0) return '';
  const more = names.length > CHIPS + 1 ? names.length - CHIPS : 0;
  const shown = more === 0 ? names : names.slice(0, CHIPS);
  return html`<ul class="chips">
    ${shown.map((name) => html`<li>${foreign(name, 60)}</li>`)}
    ${more === 0 ? '' : html`<li title="${names.slice(CHIPS).join(', ')}">+${more}</li>`}
  </ul>`;
}

/** The part of an image that is archived, as a sentence; empty for the whole image. */
export function partOf(entry: TagEntry): string {
  const platforms = provenPlatforms(entry);
  const only =
    platforms === undefined || platforms === 'all'
      ? ''
      : `Archived for ${platforms.map(formatPlatform).join(', ')} only.`;
  const foreignLayers = entry.skipping === undefined ? '' : ' Foreign layers are not archived.';
  return (only + foreignLayers).trim();
}

/** Names and values, in their order; those without a value are left out. */
export function facts(pairs: readonly (readonly [name: Cell, value: Cell])[]): Html {
  const given = pairs.filter(([, value]) => value !== '');
  return html`<dl class="list">
    ${given.map(
      ([name, value]) =>
        html`<dt>${name}</dt>
          <dd>${value}</dd>`,
    )}
  </dl>`;
}
