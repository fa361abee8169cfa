/** The section of an image's page for its referrers, such as signatures. */
import type { TagEntry, TagIndex } from '../../archive/tag-index/tag-index.ts';
import type { Digest } from '../../oci/digest.ts';
import type { Manifest } from '../../oci/manifest.ts';
import { formatPlatform } from '../../oci/platform.ts';
import { shownOf, table } from './parts.ts';
import { brief, foreign, html, type Html, sizeOf, timeOf } from './text.ts';

/** The maximum number of shown rows. */
const MAX_ROWS = 500;

interface Row {
  readonly entry: TagEntry;
  /** The child of the index that it refers to; empty if it refers to the page's own manifest. */
  readonly of: string;
}

/**
 * The referrers of a manifest, and those of the children of an index. The tag index contains everything that the
 * section needs.
 */
export function referrersOf(manifest: Manifest | undefined, digest: Digest, index: TagIndex, address: string): Html {
  const subject = manifest === undefined || manifest.kind === 'schema1' ? undefined : manifest.subject;
  const own = index.referrersOf(digest).map((entry) => ({ entry, of: '' }));
  const below = (manifest?.kind === 'index' ? manifest.manifests : []).flatMap(({ digest: child, platform }) =>
    index.referrersOf(child).map((entry) => ({ entry, of: platform === undefined ? child : formatPlatform(platform) })),
  );
  const rows = [...own, ...below];
  return html`<h2 id="referrers">Referrers</h2>
    ${
      subject === undefined
        ? ''
        : html`<p>This manifest refers to <a href="${address}@${subject.digest}">${brief(subject.digest)}</a>.</p>`
    }
    ${rows.length === 0 ? html`<p>The archive has no referrers of this manifest.</p>` : tableOf(rows, address)}`;
}

function tableOf(rows: readonly Row[], address: string): Html {
  const shown = rows.slice(0, MAX_ROWS);
  const caption = `${shownOf(shown.length, rows.length)} referrer${rows.length === 1 ? '' : 's'}`;
  const columns = [
    { label: 'Referrer' },
    { label: 'Type' },
    { label: 'Refers to' },
    { label: 'Manifest' },
    { label: 'Observed' },
  ];
  return table(
    caption,
    columns,
    shown.map(({ entry, of }) => [
      html`<a href="${address}@${entry.digest}">${brief(entry.digest)}</a
        >${entry.tag === undefined ? '' : html` ${foreign(entry.tag)}`}`,
      entry.artifactType === undefined ? '' : foreign(entry.artifactType),
      of === '' ? 'this manifest' : foreign(of),
      sizeOf(entry.size),
      timeOf(entry.observed === 0 ? undefined : entry.observed),
    ]),
  );
}
