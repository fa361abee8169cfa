/** The list of repositories. */
import { Failure } from '../../core/failure.ts';
import { Semaphore } from '../../core/semaphore.ts';
import { settleAll } from '../../core/settle-all.ts';
import type { TagEntry, TagIndex } from '../../archive/tag-index/tag-index.ts';
import { requestName } from '../names.ts';
import type { Context, PageRequest } from './context.ts';
import { type Page, prefixOf } from './document.ts';
import { bytesOf, emptySummary } from './outlines.ts';
import { countOf, pager, sortable, table } from './parts.ts';
import { type Query, queryOf, sliceOf } from './query.ts';
import { Reads } from './reads.ts';
import { foreign, html, type Html, numberOf, sizeOf, timeOf } from './text.ts';

/** The manifests that the sizes of one page may read. */
const MAX_READS = 500;
/** The references of a repository that count for its size. */
const MAX_COUNTED = 2_000;
/** The number of tag indexes that are read concurrently; each may have many MiB. */
const INDEXES = 4;

const ORDERS = ['name'] as const;
type Order = (typeof ORDERS)[number];

interface Row {
  readonly name: string;
  readonly overview: Overview | 'unreadable' | undefined;
}

interface Overview {
  readonly tags: number;
  readonly changed: number;
  readonly bytes: number;
  readonly isWhole: boolean;
}

export async function homePage(context: Context, { asOf, parameters, signal }: PageRequest): Promise<Page> {
  const query = queryOf(parameters, ORDERS);
  const slice = sliceOf(await namesOf(context, query, signal), query.page);
  const reads = new Reads(MAX_READS, signal);
  const permits = new Semaphore(INDEXES);
  const rows = await settleAll(
    slice.rows.map(async ({ name, repository }): Promise<Row> => {
      const index = await permits.with(() => indexOf(context, repository, signal), signal);
      if (index === undefined || index === 'unreadable') return { name, overview: index };
      return { name, overview: await overviewOf(context, asOf === undefined ? index : index.asOf(asOf), reads) };
    }),
  );
  const body = html`<h1>Repositories</h1>
    ${searchForm(query)}
    ${table(
      countOf(slice, 'repository', 'repositories'),
      [
        sortable('Repository', 'name', query, 'name'),
        { label: 'Tags', isNumber: true },
        { label: 'Size', isNumber: true },
        { label: 'Last change (UTC)' },
      ],
      rows.map((row) => cellsOf(row, prefixOf(asOf))),
    )}
    ${pager(slice, query, 'name')} ${NOTES}`;
  return { title: 'Repositories', address: '/', asOf, body };
}

const NOTES = html`<p class="quiet">
  A size counts each manifest, config and layer of a repository once. Repositories share layers, so an archive is
  smaller than their sum.
</p>`;

/** The names that a search finds, with their repositories, in the order of the query. */
async function namesOf(
  { archive }: Context,
  { search, isDescending }: Query<Order>,
  signal: AbortSignal,
): Promise<readonly { readonly name: string; readonly repository: string }[]> {
  const text = search.toLowerCase();
  const found = new Map<string, string>();
  for await (const repository of archive.repositories({ signal })) {
    const name = requestName(repository);
    if (name?.includes(text) === true) found.set(name, repository);
  }
  const sorted = [...found.keys()].sort();
  return (isDescending ? sorted.reverse() : sorted).map((name) => ({ name, repository: found.get(name) ?? '' }));
}

async function indexOf(
  { archive, onFault }: Context,
  repository: string,
  signal: AbortSignal,
): Promise<TagIndex | 'unreadable' | undefined> {
  try {
    return (await archive.tagIndex(repository, { signal }))?.index;
  } catch (error) {
    if (!(error instanceof Failure) || error.remedy !== 'never') throw error;
    onFault(`serve the list of repositories: ${error.message}`);
    return 'unreadable';
  }
}

async function overviewOf({ outlines }: Context, index: TagIndex, reads: Reads): Promise<Overview> {
  const entries = index.entries();
  const summary = emptySummary();
  const all = once(entries);
  const counted = all.slice(0, MAX_COUNTED);
  await settleAll(counted.map((entry) => outlines.add(entry, summary, reads)));
  return {
    tags: entries.filter(({ tag }) => tag !== undefined).length,
    changed: entries.reduce((last, { observed }) => Math.max(last, observed), 0),
    bytes: bytesOf(summary),
    isWhole: summary.isWhole && counted.length === all.length,
  };
}

/** One entry of each digest. */
function once(entries: readonly TagEntry[]): readonly TagEntry[] {
  return [...new Map(entries.map((entry) => [entry.digest, entry])).values()];
}

function cellsOf({ name, overview }: Row, prefix: string): readonly Html[] {
  const link = html`<a href="${prefix}/${name}">${name}</a>`;
  if (overview === undefined) return [link, html`0`, html`–`, html`–`];
  if (overview === 'unreadable') return [link, html`<span class="bad">cannot be read</span>`, html`–`, html`–`];
  const { tags, bytes, isWhole, changed } = overview;
  return [link, html`${numberOf(tags)}`, sizeOf(bytes, isWhole), timeOf(changed)];
}

function searchForm({ search }: Query<Order>): Html {
  return html`<form class="tools" method="get" role="search">
    <div class="grow">
      <label for="q">Search</label
      ><input type="search" id="q" name="q" value="${search}" maxlength="128" placeholder="Part of a name" />
    </div>
    <button>Search</button>
    ${search === '' ? '' : html`<span>for ${foreign(search)} · <a href="?">Show all</a></span>`}
  </form>`;
}
