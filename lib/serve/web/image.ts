/** One image: its layers or platforms, config, history and referrers. */
import { provenPlatforms, type Period, type TagEntry } from '../../archive/tag-index/tag-index.ts';
import type { Digest } from '../../oci/digest.ts';
import { type Manifest, parseManifest } from '../../oci/manifest.ts';
import { hasImageConfig } from '../../oci/mediatype.ts';
import type { Found } from '../manifests.ts';
import { requestName } from '../names.ts';
import { indexAt } from '../past.ts';
import type { Repository } from '../repositories.ts';
import { type ConfigView, viewOf } from './config.ts';
import { changesFor, changesOf, comparison, type Compared } from './changes.ts';
import type { Context, PageRequest } from './context.ts';
import { type Page, prefixOf } from './document.ts';
import { bytesOf, emptySummary, type Summary } from './outlines.ts';
import { chips, crumbs, facts, partOf, table } from './parts.ts';
import { type Address, pullCommands, type PullKind } from './pull.ts';
import { annotationsOf, childrenOf, configOf, fitting, historyOf, layersOf } from './sections.ts';
import { soundContent } from '../sound-content.ts';
import { parsed, Reads } from './reads.ts';
import { referrersOf } from './referrers.ts';
import { brief, foreign, html, type Html, sizeOf, timeOf } from './text.ts';

/** The manifests that the size of one image may read; an index has at most 1,024 children. */
const MAX_READS = 1_200;
/** A larger config is not shown. */
const MAX_CONFIG_BYTES = 4 * 1024 * 1024;

interface ImageRequest extends PageRequest {
  readonly repository: Repository;
  /** The tag or the digest in the address. */
  readonly tag: string | undefined;
  readonly digest: Digest | undefined;
  readonly address: Address;
}

/** Everything that the page shows. */
interface View {
  readonly request: ImageRequest;
  readonly name: string;
  readonly found: Found;
  readonly manifest: Manifest | undefined;
  readonly entry: TagEntry | undefined;
  readonly config: ConfigView | undefined;
  readonly summary: Summary;
  /** The digests that the tag had; empty for the page of a digest. */
  readonly periods: readonly Period[];
  readonly compared: Compared | undefined;
  readonly needsLogin: boolean;
}

export async function imagePage(context: Context, request: ImageRequest): Promise<Page> {
  const { repository, tag, digest, asOf, signal } = request;
  const { manifests, outlines, needsLogin } = context;
  const found =
    digest === undefined
      ? await manifests.byTag(repository, tag ?? '', asOf, signal)
      : await manifests.byDigest(repository, digest, signal);
  const index = indexAt(repository.index, asOf);
  const entry = tag === undefined ? repository.index.byDigest(found.digest) : index.byTag(tag);
  const { mediaType, bytes } = found;
  const manifest = parsed(() => parseManifest(bytes, mediaType));
  const summary = emptySummary();
  const reads = new Reads(MAX_READS, signal);
  // The tag index does not name a child of an index.
  const child = { digest: found.digest, mediaType, size: bytes.length, platforms: undefined, skipping: undefined };
  await outlines.add(entry ?? child, summary, reads);
  const config = await configIn(context, manifest, signal);
  const name = requestName(repository.name) ?? repository.name;
  const periods = tag === undefined ? [] : index.history(tag);
  const { parameters } = request;
  const comparing = { index: repository.index, digest: found.digest, periods, parameters, signal };
  const compared = await changesFor(context, comparing);
  const view: View = { request, name, found, manifest, entry, config, summary, periods, compared, needsLogin };
  const reference = `${name}${referenceOf(request)}`;
  return { title: reference, address: `/${reference}`, asOf, body: bodyOf(view) };
}

function referenceOf({ tag, digest }: ImageRequest): string {
  return digest === undefined ? `:${tag ?? ''}` : `@${digest}`;
}

async function configIn(
  { archive }: Context,
  manifest: Manifest | undefined,
  signal: AbortSignal,
): Promise<ConfigView | undefined> {
  if (manifest?.kind !== 'image' || manifest.config.size > MAX_CONFIG_BYTES) return undefined;
  const bytes = await soundContent(archive, manifest.config.digest, { maxBytes: MAX_CONFIG_BYTES, signal });
  return bytes === undefined ? undefined : viewOf(bytes);
}

function bodyOf(view: View): Html {
  const { request, name, manifest, config, found, compared } = view;
  const { asOf } = request;
  const address = `${prefixOf(asOf)}/${name}`;
  return html`${crumbs([
      { label: 'Repositories', link: `${prefixOf(asOf)}/` },
      { label: name, link: address },
    ])}
    <h1>${name}${request.digest === undefined ? referenceOf(request) : html`@${brief(request.digest)}`}</h1>
    ${summaryOf(view)}
    <h2 id="pull">Pull</h2>
    ${pullOf(view)}
    ${fitting([
      ...childrenOf(manifest, view.summary, address),
      ...layersOf(manifest, config),
      changesOf(compared, address),
      tagHistoryOf(address, view),
      ...configOf(config),
      ...historyOf(manifest, config),
      annotationsOf(manifest),
      referrersOf(manifest, found.digest, indexAt(request.repository.index, asOf), address),
    ])}
    <p class="quiet"><a href="/v2/${name}/manifests/${found.digest}">The manifest as JSON</a></p>`;
}

const KINDS: Readonly<Record<Manifest['kind'], string>> = {
  image: 'Image',
  index: 'Index of images',
  artifact: 'Artifact',
  schema1: 'Docker schema 1 image',
};

function summaryOf({ found, manifest, entry, summary, request }: View): Html {
  const { isWhole, platforms } = summary;
  const part = entry === undefined ? '' : partOf(entry);
  return html`${facts([
    ['Digest', html`<code>${found.digest}</code>`],
    [
      'Kind',
      html`${manifest === undefined ? 'Unknown' : KINDS[manifest.kind]}
        <span class="quiet">(${foreign(found.mediaType)})</span>`,
    ],
    ['Platforms', chips([...platforms].sort())],
    ['Size', sizeOf(bytesOf(summary), isWhole)],
    ['First observed', entry === undefined ? '' : html`${timeOf(entry.observations[0])} UTC`],
    ['Last observed', entry === undefined ? '' : html`${timeOf(entry.observed)} UTC`],
    ['Former tag', entry?.hadTag === undefined || request.tag !== undefined ? '' : foreign(entry.hadTag)],
  ])}
  ${part === '' ? '' : html`<p class="note">${foreign(part, 2_000)}</p>`}`;
}

function pullOf({ request, name, manifest, entry, needsLogin }: View): Html {
  const kind: PullKind =
    manifest?.kind === 'schema1'
      ? 'schema1'
      : manifest?.kind === 'image' && !hasImageConfig(manifest)
        ? 'artifact'
        : 'image';
  const platforms = entry === undefined ? undefined : provenPlatforms(entry);
  const isWhole = manifest?.kind === 'index' && (platforms === undefined || platforms === 'all');
  const reference = `${prefixOf(request.asOf).slice(1)}/${name}${referenceOf(request)}`.replace(/^\//, '');
  return pullCommands({ address: request.address, reference, kind, isWhole, needsLogin });
}

/** The digests that the tag had, the newest first. */
function tagHistoryOf(address: string, { found, request, periods }: View): Html | '' {
  if (periods.length === 0) return '';
  const rows = periods.toReversed().slice(0, 200);
  return html`<h2 id="tag-history">History of the tag</h2>
    ${table(
      periods.length > rows.length
        ? `The last ${rows.length} of ${periods.length} periods`
        : 'The digests that the tag had',
      [{ label: 'Digest' }, { label: 'From (UTC)' }, { label: 'To (UTC)' }, { label: 'Changes' }],
      rows.map(({ digest, isRejected, from, to }, at) => [
        digest === undefined
          ? html`<span class="quiet">${isRejected === true ? 'rejected' : 'removed by a repair'}</span>`
          : html`<a href="${address}@${digest}">${brief(digest)}</a>${digest === found.digest ? ' (this page)' : ''}`,
        timeOf(from),
        to === undefined ? (request.asOf === undefined ? 'now' : 'later') : timeOf(to),
        changesLink(address, digest, periods[periods.length - 2 - at]?.digest),
      ]),
    )}`;
}

function changesLink(address: string, digest: Digest | undefined, previous: Digest | undefined): Html | '' {
  if (digest === undefined || previous === undefined) return '';
  return html`<a href="${comparison(address, digest, previous)}#changes"
    >compare<span class="unseen"> ${digest.slice(0, 19)} with the digest before it</span></a
  >`;
}
