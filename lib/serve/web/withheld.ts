/** The images that a repository does not show: held, not verified, or rejected. */
import type { TagIndex } from '../../archive/tag-index/tag-index.ts';
import { withheldList, type WithheldImage } from '../../archive/tag-index/withheld.ts';
import { type Cell, table } from './parts.ts';
import { brief, foreign, html, type Html, numberOf, timeOf } from './text.ts';

/** The rows of the section. `mirror-sync ls --held` lists all. */
const MAX_ROWS = 100;

export function withheldSection(index: TagIndex): Html | '' {
  const images = withheldList(index);
  if (images.length === 0) return '';
  const rows = images.slice(0, MAX_ROWS);
  const caption =
    rows.length < images.length ? `The first ${rows.length} of ${numberOf(images.length)}` : numberOf(rows.length);
  return html`<h2 id="withheld">Withheld images</h2>
    <p>Clients cannot pull these images. A held image is in the archive, and the first sync after its time shows it.</p>
    ${table(
      caption,
      [
        { label: 'Tag', width: 'name' },
        { label: 'Digest' },
        { label: 'First observed (UTC)' },
        { label: 'State', width: 'some' },
      ],
      rows.map(cellsOf),
    )}`;
}

function cellsOf({ tag, digest, since, state, until, reason = '' }: WithheldImage): readonly Cell[] {
  return [
    tag === undefined ? html`<span class="quiet">no tag</span>` : foreign(tag),
    brief(digest),
    timeOf(since),
    until === undefined ? html`${state}: ${foreign(reason)}` : html`held until ${timeOf(until)}`,
  ];
}
