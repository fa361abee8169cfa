import type { BlobEvent, MirrorEvent } from '../mirror/events.ts';
import { bytes, plural, seconds, shortDigest } from './format.ts';
import type { Output } from './io.ts';
import { shownName } from './outcomes.ts';
import type { Printer, Summary } from './printer.ts';

/** Plain lines, for a pipe or a log: one when something has come to its end. */
export function plainPrinter(out: Output, errors: Output): Printer {
  return {
    event(event) {
      const text = lineOf(event);
      if (text !== undefined) out.write(`${text}\n`);
    },
    notice: (text) => void errors.write(`${text}\n`),
    summary(summary) {
      out.write(summaryText(summary));
    },
    close: () => undefined,
  };
}

/** What is worth a line that stays. */
export function lineOf(event: MirrorEvent): string | undefined {
  switch (event.type) {
    case 'listed':
      return `${event.source}: ${event.tags.length === 0 ? 'no tags to mirror' : plural(event.tags.length, 'tag')}`;
    case 'resolved':
      return event.missing === 0
        ? undefined
        : `${shownName(event)}: ${plural(event.missing, 'blob')} to fetch, ${bytes(event.missingBytes)}`;
    case 'blob':
      return blobLine(event);
    case 'image': {
      const name = shownName(event);
      const digest = event.digest === undefined ? '' : `  ${event.digest}`;
      return event.status === 'failed'
        ? `${name}: failed: ${event.reason ?? 'for no given reason'}`
        : `${name}: ${event.status}${digest}${event.reason === undefined ? '' : ` (${event.reason})`}`;
    }
  }
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

export function summaryText({ mirrored, unchanged, failed, images, elapsedMs }: Summary): string {
  const fetched = images.reduce((sum, image) => sum + image.bytes, 0);
  const rate = fetched > 0 && elapsedMs > 0 ? `, ${bytes((fetched * 1000) / elapsedMs)}/s` : '';
  const failures = images
    .filter(({ status }) => status === 'failed')
    .map((image) => `  ${shownName(image)}: ${image.reason ?? ''}\n`);
  return (
    `${mirrored} mirrored, ${unchanged} unchanged, ${failed} failed; ` +
    `${bytes(fetched)} fetched in ${seconds(elapsedMs)}${rate}\n` +
    (failures.length === 0 ? '' : `failed:\n${failures.join('')}`)
  );
}
