import type { BlobEvent, ImageEvent, MirrorEvent } from '../../sync/events.ts';
import { printable } from '../../oci/show.ts';
import { bytes, plural, seconds, shortDigest } from '../../core/format.ts';
import { type Output, writeLine } from './io.ts';
import { noTagsReason, shownName } from '../../app/outcomes.ts';
import type { Summary } from '../../app/outcomes.ts';
import type { Printer } from './printer.ts';

/** Plain lines, for a pipe or a log: one when something has come to its end. */
export function plainPrinter(out: Output, errors: Output): Printer {
  return {
    event(event) {
      const text = lineOf(event);
      if (text !== undefined) out.write(`${text}\n`);
    },
    notice(text) {
      writeLine(errors, text);
    },
    summary(summary) {
      out.write(summaryText(summary));
    },
    close: () => undefined,
  };
}

/** The line that an event leaves, with a line for each note; undefined for an event that only progress shows. */
export function lineOf(event: MirrorEvent): string | undefined {
  const line = textOf(event);
  if (line === undefined) return undefined;
  const notes = event.type === 'image' ? (event.notes ?? []) : [];
  return [line, ...notes.map((note) => `  warning: ${note}`)].map(printable).join('\n');
}

function textOf(event: MirrorEvent): string | undefined {
  switch (event.type) {
    case 'listed':
      return `${event.source}: ${event.upstream === undefined ? plural(event.tags.length, 'tag') : `no tags to mirror: ${noTagsReason(event.upstream)}`}`;
    case 'resolved':
      return event.missing === 0
        ? undefined
        : `${shownName(event)}: ${plural(event.missing, 'blob')} to fetch, ${bytes(event.missingBytes)}`;
    case 'blob':
      return blobLine(event);
    case 'image':
      return imageLine(event);
  }
}

/** The summary has the reason of a failure, so that each is printed once. */
function imageLine(event: ImageEvent): string {
  const { status, digest, previous, code, reason } = event;
  const name = shownName(event);
  if (status === 'failed') return `${name}: failed${code === undefined ? '' : ` (${code})`}`;
  const remarks = [
    ...(previous === undefined ? [] : [`moved from ${previous}`]),
    ...(reason === undefined ? [] : [reason]),
  ];
  return `${name}: ${status}${digest === undefined ? '' : `  ${digest}`}${remarks.length === 0 ? '' : ` (${remarks.join('; ')})`}`;
}

function blobLine(event: BlobEvent): string | undefined {
  const blob = shortDigest(event.blob);
  switch (event.phase) {
    case 'stored':
      return `${event.source}: ${blob}: verified and stored, ${bytes(event.size ?? event.fetched)}`;
    case 'continued':
      return `${event.source}: ${blob}: to be continued`;
    case 'started':
    case 'progress':
    case 'verifying':
    case 'present':
    case 'failed':
      return undefined;
  }
}

export function summaryText({
  mirrored,
  unchanged,
  failed,
  bytes: fetched,
  images,
  warnings,
  elapsedMs,
}: Summary): string {
  const rate = fetched > 0 && elapsedMs > 0 ? `, ${bytes((fetched * 1000) / elapsedMs)}/s` : '';
  const failures = images
    .filter(({ status }) => status === 'failed')
    .map((image) => `  ${shownName(image)}: ${image.reason ?? 'no reason given'}`);
  const cautions = warnings.map(
    (warning) => `  ${shownName({ reference: warning.source, ...warning })}: ${warning.reason}`,
  );
  const notes = images.flatMap((image) => (image.notes ?? []).map((note) => `  ${shownName(image)}: ${note}`));
  const lines = [
    `${mirrored} mirrored, ${unchanged} unchanged, ${failed} failed; ` +
      `${bytes(fetched)} fetched in ${seconds(elapsedMs)}${rate}`,
    ...(cautions.length + notes.length === 0 ? [] : ['warnings:', ...cautions, ...notes]),
    ...(failures.length === 0 ? [] : ['failed:', ...failures]),
  ];
  return lines.map((line) => `${printable(line)}\n`).join('');
}
