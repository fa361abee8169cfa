/** One repository: its tags, and the images that it does not show. */
import type { TagEntry, TagIndex } from '../../archive/tag-index/tag-index.ts';
import { withheldList, type WithheldImage } from '../../archive/tag-index/withheld.ts';
import { settleAll } from '../../core/settle-all.ts';
import { isTag } from '../../oci/reference.ts';
import { requestName } from '../names.ts';
import { indexAt } from '../past.ts';
import type { Repository } from '../repositories.ts';
import type { Context, PageRequest } from './context.ts';
import { type Page, prefixOf } from './document.ts';
import { bytesOf, emptySummary, type Summary } from './outlines.ts';
import { type Cell, chips, countOf, crumbs, pager, partOf, shownOf, sortable, table } from './parts.ts';
import { type Query, queryOf, sliceOf } from './query.ts';
import { Reads } from './reads.ts';
import { chosen, type Order, ORDERS, type Row, rowsOf } from './rows.ts';
import { brief, foreign, html, type Html, sizeOf, timeOf, visible } from './text.ts';

/** The manifests and configs that one page may read. A page has 50 tags, and each of them may have several platforms. */
const MAX_READS = 1_000;
/** The previous digests of a tag in the list; the page of the tag has all of them. */
const SHOWN_PREVIOUS = 5;
/** The maximum number of shown withheld images; `mirror-sync ls --held` lists all. */
const MAX_WITHHELD = 100;

interface RepositoryRequest extends PageRequest {
  readonly repository: Repository;
}

export async function repositoryPage(context: Context, request: RepositoryRequest): Promise<Page> {
  const { repository, asOf, parameters, signal } = request;
  const name = requestName(repository.name) ?? repository.name;
  const query = queryOf(parameters, ORDERS);
  const index = indexAt(repository.index, asOf);
  const slice = sliceOf(chosen(rowsOf(index), query), query.page);
  const reads = new Reads(MAX_READS, signal);
  const rows = await settleAll(
    slice.rows.map(async (row) => {
      const summary = emptySummary();
      await context.outlines.add(row.entry, summary, reads);
      return cellsOf(row, summary, `${prefixOf(asOf)}/${name}`);
    }),
  );
  const body = html`${crumbs([{ label: 'Repositories', link: `${prefixOf(asOf)}/` }])}
    <h1>${name}</h1>
    ${searchForm(query)} ${table(countOf(slice, ...namesOf(rowsOf(index))), columnsOf(query), rows)}
    ${pager(slice, query, 'name')} ${asOf === undefined ? withheldSection(repository.index) : ''}
    <p class="quiet">
      A sync that finds a tag unchanged records nothing, so the last observation may be older than the last sync.
    </p>`;
  return { title: name, address: `/${name}`, asOf, body };
}

function namesOf(rows: readonly Row[]): readonly [one: string, many: string] {
  return rows.every(({ entry }) => entry.tag !== undefined) ? ['tag', 'tags'] : ['tag or digest', 'tags and digests'];
}

function columnsOf(query: Query<Order>): Parameters<typeof table>[1] {
  return [
    sortable('Tag', 'name', query, 'name'),
    { label: 'Digest' },
    { label: 'Platforms', width: 'some' },
    { label: 'Size', isNumber: true },
    sortable('First observed (UTC)', 'first', query, 'name'),
    sortable('Last observed (UTC)', 'observed', query, 'name'),
    { label: 'Previous digests' },
  ];
}

function cellsOf({ entry, first, previous }: Row, summary: Summary, address: string): readonly Cell[] {
  const { tag, digest } = entry;
  return [
    tag === undefined
      ? html`<span class="quiet">no tag</span>`
      : isTag(tag)
        ? html`<a href="${address}:${tag}">${tag}</a>`
        : foreign(tag),
    html`<a href="${address}@${digest}">${brief(digest)}</a>`,
    platformsOf(entry, summary),
    summary.objects.size === 0 ? html`<span class="quiet">unknown</span>` : sizeOf(bytesOf(summary), summary.isWhole),
    timeOf(first),
    timeOf(entry.observed),
    previousOf(previous, tag, address),
  ];
}

function platformsOf(entry: TagEntry, { platforms }: Summary): Cell {
  const part = partOf(entry);
  const list = chips([...platforms].sort());
  if (part === '') return list;
  return html`<div title="${visible(part)}">${list}<span class="quiet">a part of the image</span></div>`;
}

function previousOf(previous: readonly TagEntry[], tag: string | undefined, address: string): Cell {
  if (previous.length === 0) return '';
  const shown = previous.slice(0, SHOWN_PREVIOUS);
  const more = previous.length - shown.length;
  return html`<details>
    <summary>${previous.length}<span class="unseen"> previous digests of ${visible(tag ?? '')}</span></summary>
    <ul>
      ${shown.map(({ digest }) => html`<li><a href="${address}@${digest}">${brief(digest)}</a></li>`)}
      ${more === 0 ? '' : html`<li><a href="${address}:${tag}#tag-history">${more} more</a></li>`}
    </ul>
  </details>`;
}

/** The images that are held, not verified, or rejected. */
function withheldSection(index: TagIndex): Html | '' {
  const images = withheldList(index);
  if (images.length === 0) return '';
  const rows = images.slice(0, MAX_WITHHELD);
  return html`<h2 id="withheld">Withheld images</h2>
    <p>Clients cannot pull these images. A held image is in the archive, and the first sync after its time shows it.</p>
    ${table(
      shownOf(rows.length, images.length),
      [
        { label: 'Tag', width: 'name' },
        { label: 'Digest' },
        { label: 'First observed (UTC)' },
        { label: 'State', width: 'some' },
      ],
      rows.map(withheldCells),
    )}`;
}

function withheldCells({ tag, digest, since, state, until, reason = '', by }: WithheldImage): readonly Cell[] {
  return [
    tag === undefined ? html`<span class="quiet">no tag</span>` : foreign(tag),
    brief(digest),
    timeOf(since),
    until === undefined
      ? html`${state}${by === undefined ? '' : html` by ${foreign(by)}`}: ${foreign(reason)}`
      : html`held until ${timeOf(until)}`,
  ];
}

function searchForm({ search, sort, isDescending }: Query<Order>): Html {
  const orders: readonly (readonly [value: string, label: string])[] = [
    ['name', 'Tag'],
    ['-name', 'Tag, reversed'],
    ['-observed', 'Last observed, newest first'],
    ['observed', 'Last observed, oldest first'],
    ['-first', 'First observed, newest first'],
    ['first', 'First observed, oldest first'],
  ];
  const current = (isDescending ? '-' : '') + sort;
  return html`<form class="tools" method="get" role="search">
    <div class="grow">
      <label for="q">Search</label
      ><input type="search" id="q" name="q" value="${search}" maxlength="128" placeholder="Part of a tag or a digest" />
    </div>
    <div>
      <label for="sort">Sort by</label
      ><select id="sort" name="sort">
        ${orders.map(([value, label]) =>
          value === current
            ? html`<option value="${value}" selected>${label}</option>`
            : html`<option value="${value}">${label}</option>`,
        )}
      </select>
    </div>
    <button>Apply</button>
    ${search === '' ? '' : html`<span>for ${foreign(search)} · <a href="?">Show all</a></span>`}
  </form>`;
}
