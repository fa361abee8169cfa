/** The section of an image's page that compares it with the image that its tag named before. */
import { type Change, type Changes, type Overlap, periodOf, type SettingsChange } from '../../changes/changes.ts';
import { compareImages } from '../../changes/read.ts';
import { type Period, provenPlatforms, type TagIndex } from '../../archive/tag-index/tag-index.ts';
import { bytes, plural, span } from '../../core/format.ts';
import { type Digest, isDigest } from '../../oci/digest.ts';
import type { Context } from './context.ts';
import { type Cell, chips, facts, table } from './parts.ts';
import { brief, foreign, html, type Html, timeOf, visible } from './text.ts';

/** The parameter of an address with the digest to compare with. */
const PREVIOUS = 'previous';

export interface Compared {
  readonly previous: Digest;
  readonly changes: Changes;
}

interface ChangesRequest {
  readonly index: TagIndex;
  readonly digest: Digest;
  /** The periods of the tag; empty for the page of a digest. */
  readonly periods: readonly Period[];
  readonly parameters: URLSearchParams;
  readonly signal: AbortSignal;
}

/** The link to the page of a digest that compares it with another one. */
export function comparison(address: string, digest: Digest, previous: Digest): string {
  return `${address}@${digest}?${PREVIOUS}=${previous}`;
}

/** Compares the page's image with another one: that in the address, or the previous one in the history of the tag. */
export async function changesFor({ archive }: Context, request: ChangesRequest): Promise<Compared | undefined> {
  const { index, digest, periods, parameters, signal } = request;
  const at = periods.findLastIndex((period) => period.digest === digest);
  const period = periods[at - 1];
  const named = parameters.get(PREVIOUS) ?? '';
  const previous = isDigest(named) ? named : period?.digest;
  // Only the images of this repository can be compared on its pages.
  if (previous === undefined || previous === digest || index.byDigest(previous) === undefined) return undefined;
  const entry = index.byDigest(digest);
  const platforms = (entry && provenPlatforms(entry)) ?? 'all';
  const changes = await compareImages({ previous, digest, platforms }, (of, maxBytes) =>
    archive.content(of, { maxBytes, signal }),
  );
  const isPeriod = period?.digest === previous && period.to !== undefined;
  return { previous, changes: { ...(isPeriod ? periodOf(period.from, period.to) : {}), ...changes } };
}

export function changesOf(compared: Compared | undefined, address: string): Html | '' {
  if (compared === undefined) return '';
  const { previous, changes } = compared;
  const { layers, bytes: size, platforms, settings, notes = [] } = changes;
  return html`<h2 id="changes">Changes</h2>
    <p>Compared with <a href="${address}@${previous}">${brief(previous)}</a>${periodText(changes)}.</p>
    ${facts([
      ['Layers', countsOf(layers, String)],
      ['Bytes of layers', size === undefined ? html`<span class="quiet">unknown</span>` : countsOf(size, bytes)],
      ['Platforms added', chips(platforms.added)],
      ['Platforms removed', chips(platforms.removed)],
    ])}
    ${settings.length === 0 ? html`<p>No setting of the images differs.</p>` : settings.map(settingsTable)}
    ${
      notes.length === 0
        ? ''
        : html`<ul class="plain quiet">
            ${notes.map((note) => html`<li>${foreign(note, 400)}</li>`)}
          </ul>`
    }`;
}

function periodText({ from, to }: Changes): Html | '' {
  if (from === undefined || to === undefined) return '';
  const [start, end] = [Date.parse(from), Date.parse(to)];
  return html`, which was current for ${span(end - start)}, from ${timeOf(start)} to ${timeOf(end)} UTC`;
}

function countsOf({ shared, added, removed }: Overlap, show: (count: number) => string): string {
  return `${show(shared)} shared, ${show(added)} added, ${show(removed)} removed`;
}

function settingsTable({ platforms, omitted = 0, ...change }: SettingsChange): Html {
  const { user, entrypoint, command, environment, labels = [] } = change;
  const variables = [
    ...(environment?.added ?? []).map((name) => [variable(name), missing(), 'set']),
    ...(environment?.removed ?? []).map((name) => [variable(name), 'set', missing()]),
    ...(environment?.changed ?? []).map((name) => [variable(name), 'set', 'another value']),
  ] satisfies Cell[][];
  const rows = [
    ...(user === undefined ? [] : [['User', ...beforeAndAfter(user)]]),
    ...(entrypoint === undefined ? [] : [['Entrypoint', ...beforeAndAfter(entrypoint)]]),
    ...(command === undefined ? [] : [['Command', ...beforeAndAfter(command)]]),
    ...variables,
    ...labels.map((label) => [html`Label ${foreign(label.name)}`, ...beforeAndAfter(label)]),
  ] satisfies Cell[][];
  const of = platforms.length === 0 ? '' : html` of ${foreign(platforms.join(', '), 2_000)}`;
  const caption = omitted === 0 ? plural(rows.length, 'change') : `${rows.length} of ${rows.length + omitted} changes`;
  return html`<h3>Settings${of}</h3>
    ${table(
      caption,
      [
        { label: 'Setting', width: 'name' },
        { label: 'Before', width: 'some' },
        { label: 'After', width: 'some' },
      ],
      rows,
    )}`;
}

function variable(name: string): Html {
  return html`Variable ${foreign(name)}`;
}

function missing(): Html {
  return html`<span class="quiet">none</span>`;
}

function beforeAndAfter({ from, to }: Change<string | readonly string[]>): readonly Cell[] {
  return [from, to].map((value) => {
    if (value === null) return missing();
    const text = typeof value === 'string' ? value : JSON.stringify(value);
    return html`<code>${visible(text, 10_000)}</code>`;
  });
}
