/** Texts, numbers and times in pages. Everything from an archive passes through `foreign` or `visible`. */
import { html as htmlOf } from 'hono/html';
import { bytes, shortDigest } from '../../core/format.ts';
import type { Digest } from '../../oci/digest.ts';
import { printable } from '../../oci/show.ts';

export type Html = Awaited<ReturnType<typeof htmlOf>>;

/**
 * Escapes every value that is not itself HTML. The values of a page are never promises, so the result is not one
 * either.
 */
export const html = htmlOf as (strings: TemplateStringsArray, ...values: unknown[]) => Html;

/** The characters of a foreign text that a page shows, unless the caller sets another limit. */
const SHOWN = 300;

/** A bounded foreign text without characters that reorder or hide others. `html` escapes it. */
export function visible(text: string, limit = SHOWN): string {
  const shown = printable(text.slice(0, limit));
  return text.length > limit ? `${shown}… (${text.length} characters)` : shown;
}

/** A foreign text, isolated so that text from right to left does not reorder the text around it. */
export function foreign(text: string, limit = SHOWN): Html {
  return html`<bdi>${visible(text, limit)}</bdi>`;
}

/** A foreign text; a link if the whole text is an address of the web. */
export function maybeLink(text: string): Html {
  const address = text.length <= SHOWN && printable(text) === text && /^https?:\/\/\S+$/i.test(text) ? text : '';
  if (!URL.canParse(address)) return foreign(text);
  return html`<a rel="noopener noreferrer nofollow" href="${new URL(address).href}">${foreign(text)}</a>`;
}

/** A size in decimal units. `isWhole` is false for the part of a size that is known. */
export function sizeOf(count: number, isWhole = true): Html {
  const exact = count.toLocaleString('en');
  if (isWhole) return html`<span title="${exact} bytes">${bytes(count)}</span>`;
  return html`<span title="at least ${exact} bytes"
    ><span class="quiet" aria-hidden="true">≥ </span><span class="unseen">at least </span>${bytes(count)}</span
  >`;
}

/** A time in UTC, to the minute. */
export function timeOf(ms: number | undefined): Html {
  if (ms === undefined || ms === 0) return html`<span class="quiet">unknown</span>`;
  const iso = new Date(ms).toISOString();
  return html`<time datetime="${iso}" title="${iso}">${iso.slice(0, 10)} ${iso.slice(11, 16)}</time>`;
}

/** The first characters of a digest. */
export function brief(digest: Digest): Html {
  return html`<code class="digest" title="${digest}"
    >${digest.slice(0, digest.indexOf(':') + 1)}${shortDigest(digest)}</code
  >`;
}

export function numberOf(count: number): string {
  return count.toLocaleString('en');
}
