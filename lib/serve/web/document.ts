/** The frame of all pages, and their headers. */
import { createHash } from 'node:crypto';
import { raw } from 'hono/html';
import { type Headers, whole } from '../answers.ts';
import type { RegistryError } from '../errors.ts';
import { SCRIPT, STYLE } from './style.ts';
import { html, type Html, timeOf } from './text.ts';

/** A page that may be shown at an instant in the past. */
export interface Page {
  readonly title: string;
  /** The address of this page without a time: `/docker.io/library/alpine`. */
  readonly address: string;
  /** The instant whose state is shown, in milliseconds since the epoch; undefined for the present. */
  readonly asOf: number | undefined;
  readonly body: Html;
}

function hashOf(text: string): string {
  return `'sha256-${createHash('sha256').update(text).digest('base64')}'`;
}

const POLICY = [
  "default-src 'none'",
  `style-src ${hashOf(STYLE)}`,
  `script-src ${hashOf(SCRIPT)}`,
  'img-src data:',
  "form-action 'self'",
  "base-uri 'none'",
  "frame-ancestors 'none'",
].join('; ');

const PAGE_HEADERS: Headers = {
  'content-type': 'text/html; charset=utf-8',
  'content-security-policy': POLICY,
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
};

/** A client must revalidate the page before it shows it again; shared caches do not store it. */
const PRIVATE = 'private, no-cache';

export function pageResponse(request: Request, page: Page): Response {
  const bytes = Buffer.from(String(frame(page)));
  const etag = `"${createHash('sha256').update(bytes).digest('base64url').slice(0, 22)}"`;
  return whole(request, bytes, { ...PAGE_HEADERS, 'cache-control': PRIVATE, etag });
}

const HEADINGS: ReadonlyMap<number, string> = new Map([
  [400, 'The address is invalid'],
  [401, 'Log in'],
  [403, 'Access denied'],
  [404, 'Not found'],
  [405, 'The archive is read-only'],
  [503, 'Not available now'],
]);

/** An error as a page. */
export function errorResponse({ method }: Request, { status, message, headers }: RegistryError): Response {
  const title = HEADINGS.get(status) ?? 'The archive cannot be read';
  const sentence = `${message.slice(0, 1).toUpperCase()}${message.slice(1)}.`;
  const body = html`<h1>${title}</h1>
    <p><bdi>${sentence}</bdi></p>
    <p><a href="/">All repositories</a></p>`;
  const bytes = Buffer.from(String(frame({ title, address: '/', asOf: undefined, body })));
  return new Response(method === 'HEAD' ? null : bytes, {
    status,
    headers: { ...PAGE_HEADERS, 'content-length': String(bytes.length), 'cache-control': 'no-store', ...headers },
  });
}

// Their hashes cover every character, so no formatter may indent them.
const STYLE_TAG = raw(`<style>${STYLE}</style>`);
const SCRIPT_TAG = raw(`<script>${SCRIPT}</script>`);

const SHAPE = 'M2 2h12v4H2zm0 5h12v3H2zm0 4h12v3H2z';
const ICON = `data:image/svg+xml,${encodeURIComponent(
  `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><path fill="#0a5bbf" d="${SHAPE}"/></svg>`,
)}`;

function frame({ title, address, asOf, body }: Page): Html {
  return html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta name="robots" content="noindex" />
        <title>${title} · mirror-sync</title>
        <link rel="icon" href="${ICON}" />
        ${STYLE_TAG}
      </head>
      <body>
        <a class="skip" href="#main">Skip to content</a>
        <header>
          <div class="wrap">
            <a class="brand" href="${prefixOf(asOf)}/"
              ><svg viewBox="0 0 16 16" aria-hidden="true"><path d="${SHAPE}" /></svg>mirror-sync archive</a
            >
            ${timeForm(address, asOf)}
          </div>
        </header>
        <main id="main" class="wrap">${noteOf(address, asOf)} ${body}</main>
        ${SCRIPT_TAG}
      </body>
    </html>`;
}

function timeForm(address: string, asOf: number | undefined): Html {
  const day = asOf === undefined ? '' : new Date(asOf).toISOString().slice(0, 10);
  return html`<form method="get" action="${address}">
    <div>
      <label for="at">As of (UTC)</label>
      <input type="date" id="at" name="at" value="${day}" required title="The end of a day in UTC" />
    </div>
    <button>Show</button>
  </form>`;
}

function noteOf(address: string, asOf: number | undefined): Html | '' {
  if (asOf === undefined) return '';
  return html`<p class="note" role="status">
    These are the tags as they were observed at ${timeOf(asOf)} UTC. <a href="${address}">Show the present</a>
  </p>`;
}

/** The prefix of addresses for an instant, `/at-20260131t120000z`; empty for the present. */
export function prefixOf(asOf: number | undefined): string {
  if (asOf === undefined) return '';
  // The end of a day has milliseconds, which the format lacks.
  const iso = new Date(asOf).toISOString();
  if (iso.endsWith('T23:59:59.999Z')) return `/at-${iso.slice(0, 10).replaceAll('-', '')}`;
  return `/at-${iso.slice(0, 19).replaceAll(/[-:]/g, '').toLowerCase()}z`;
}
