/** The sections of an image's page. */
import type { Descriptor } from '../../oci/descriptor.ts';
import type { Manifest } from '../../oci/manifest.ts';
import { isForeignLayer } from '../../oci/mediatype.ts';
import { formatPlatform } from '../../oci/platform.ts';
import { isAttestation } from '../../oci/platform-choice.ts';
import { type ConfigView, type HistoryStep, stepOfSchema1 } from './config.ts';
import type { Summary } from './outlines.ts';
import { facts, shownOf, table } from './parts.ts';
import { brief, foreign, html, type Html, maybeLink, numberOf, sizeOf, visible } from './text.ts';

/** The maximum number of shown rows of a table; engines stack at most 128 layers. */
const MAX_ROWS = 500;
const MAX_COMMAND = 500;
const MAX_VALUE = 1_000;
/** The characters of a config that are shown. */
const MAX_TEXT = 50_000;
/** The bytes of all sections, below the 1 MB of a response through a load balancer. */
const MAX_BYTES = 900_000;

type Section = Html | '';

/** The sections in their order; each one that would make the page too large is replaced by a sentence. */
export function fitting(sections: readonly Section[]): Html {
  let left = MAX_BYTES;
  const shown = sections.map((section) => {
    const length = Buffer.byteLength(String(section));
    if (length > left)
      return html`<p class="note">A section is too large for this page; the manifest and the config contain it.</p>`;
    left -= length;
    return section;
  });
  return html`${shown}`;
}

/** The images of an index. */
export function childrenOf(
  manifest: Manifest | undefined,
  { objects, isWhole }: Summary,
  address: string,
): readonly Section[] {
  if (manifest?.kind !== 'index') return [];
  const children = manifest.manifests.slice(0, MAX_ROWS);
  const rows = children.map((child) => {
    const isHere = objects.has(child.digest);
    const name = brief(child.digest);
    return [
      html`${kindOf(child)}`,
      isHere ? html`<a href="${address}@${child.digest}">${name}</a>` : name,
      html`${foreign(child.mediaType)}`,
      isHere ? html`archived` : html`<span class="quiet">${isWhole ? 'not archived' : 'unknown'}</span>`,
    ];
  });
  return [
    html`<h2 id="images">Images</h2>
      ${table(
        `${shownOf(rows.length, manifest.manifests.length)} manifests`,
        [{ label: 'Platform', width: 'name' }, { label: 'Digest' }, { label: 'Type' }, { label: 'In the archive' }],
        rows,
      )}`,
  ];
}

function kindOf(child: Descriptor): Html | string {
  if (isAttestation(child)) return 'attestation';
  return child.platform === undefined ? 'no platform' : foreign(formatPlatform(child.platform), 60);
}

/** The layers of an image, the base first; the blobs of an artifact. */
export function layersOf(manifest: Manifest | undefined, config: ConfigView | undefined): readonly Section[] {
  if (manifest === undefined || manifest.kind === 'index') return [];
  const commands = (config?.history ?? []).filter(({ isEmpty }) => !isEmpty).map(({ command }) => command);
  const layers: readonly (Pick<Descriptor, 'digest'> & Partial<Descriptor>)[] =
    manifest.kind === 'artifact' ? manifest.blobs : manifest.layers;
  const title = manifest.kind === 'artifact' ? 'Blobs' : 'Layers';
  if (layers.length === 0)
    return [
      html`<h2 id="layers">${title}</h2>
        <p>The image has none.</p>`,
    ];
  const rows = layers
    .slice(0, MAX_ROWS)
    .map(({ digest, size, mediaType = '', annotations }, at) => [
      html`${at + 1}`,
      brief(digest),
      size === undefined ? html`<span class="quiet">unknown</span>` : sizeOf(size),
      html`${foreign(mediaType, 120)}${isForeignLayer(mediaType) ? ' (foreign)' : ''}`,
      commandOf(commands[at] ?? annotations?.['org.opencontainers.image.title'] ?? ''),
    ]);
  return [
    html`<h2 id="layers">${title}</h2>
      ${table(
        `${shownOf(rows.length, layers.length)} ${title.toLowerCase()}`,
        [
          { label: 'Number' },
          { label: 'Digest' },
          { label: 'Size', isNumber: true },
          { label: 'Type', width: 'type' },
          { label: manifest.kind === 'image' && commands.length === 0 ? 'Title' : 'Created by' },
        ],
        rows,
      )}`,
  ];
}

function commandOf(command: string): Html | '' {
  return command === '' ? '' : html`<code>${visible(command, MAX_COMMAND)}</code>`;
}

export function configOf(config: ConfigView | undefined): readonly Section[] {
  if (config === undefined) return [];
  const { labels, environment, omitted, text } = config;
  const code = (value: string): Html => html`<code>${visible(value, MAX_VALUE)}</code>`;
  const rest = text.length > MAX_TEXT ? `\n… (${numberOf(text.length)} characters)` : '';
  return [
    html`<h2 id="config">Config</h2>
      ${facts(config.facts.map(([name, value]) => [name, code(value)]))}
      ${
        environment.length === 0
          ? ''
          : html`<h3>Environment</h3>
              <ul class="plain">
                ${environment.map((line) => html`<li>${code(line)}</li>`)}
              </ul>`
      }
      ${
        labels.length === 0
          ? ''
          : html`<h3>Labels</h3>
              ${pairs(labels)}`
      }
      ${omitted === 0 ? '' : html`<p class="quiet">${numberOf(omitted)} more elements are not shown.</p>`}`,
    html`<details>
      <summary>The config as JSON</summary>
      <pre tabindex="0">${lines(text.slice(0, MAX_TEXT))}${rest}</pre>
    </details>`,
  ];
}

/** Text of several lines. */
function lines(text: string): string {
  return text
    .split('\n')
    .map((line) => visible(line, MAX_TEXT))
    .join('\n');
}

/** Foreign names and values. */
function pairs(all: readonly (readonly [name: string, value: string])[]): Html {
  return facts(
    all.map(([name, value]) => [
      foreign(name),
      value.length > MAX_VALUE ? foreign(value, MAX_VALUE) : maybeLink(value),
    ]),
  );
}

/** The steps that made an image, the oldest first. */
export function historyOf(manifest: Manifest | undefined, config: ConfigView | undefined): readonly Section[] {
  const steps: readonly HistoryStep[] =
    manifest?.kind === 'schema1'
      ? manifest.layers.slice(0, MAX_ROWS).map(({ history, throwaway }) => stepOfSchema1(history, throwaway))
      : (config?.history ?? []);
  if (steps.length === 0) return [];
  const rows = steps.map(({ created, command, isEmpty }, at) => [
    html`${at + 1}`,
    created === undefined
      ? ''
      : html`<span class="${created.length > 30 ? '' : 'short'}">${foreign(created, 40)}</span>`,
    commandOf(command),
    isEmpty ? html`<span class="quiet">no layer</span>` : '',
  ]);
  return [
    html`<h2 id="history">History of the image</h2>
      ${table(`${numberOf(rows.length)} steps`, [{ label: 'Step' }, { label: 'Created', width: 'name' }, { label: 'Command' }, { label: 'Layer' }], rows)}`,
  ];
}

export function annotationsOf(manifest: Manifest | undefined): Section {
  const all = manifest === undefined || manifest.kind === 'schema1' ? [] : Object.entries(manifest.annotations ?? {});
  if (all.length === 0) return '';
  const shown = all.slice(0, 200);
  return html`<h2 id="annotations">Annotations</h2>
    ${pairs(shown)}
    ${shown.length < all.length ? html`<p class="quiet">${numberOf(all.length - shown.length)} more are not shown.</p>` : ''}`;
}
