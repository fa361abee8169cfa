/** The last lines of a run, for people. */
import { bytes, plural, seconds } from '../../core/format.ts';
import { printable } from '../../oci/show.ts';
import { type Outcome, shownName, type Summary } from '../../app/outcomes.ts';

import type { Tone } from './screen.ts';

export interface SummaryLine {
  readonly text: string;
  readonly tone?: Tone;
}

/** The states in which policy keeps an image from its tag. */
const WITHHELD = ['held', 'unverified', 'drifted', 'rejected'] as const;

/** Failures are last, because a reader sees the end first. Interrupted images share one line. */
export function summaryLines(summary: Summary): SummaryLine[] {
  const { bytes: fetched, images, warnings, elapsedMs, referrers, ...counts } = summary;
  const rate = fetched > 0 && elapsedMs > 0 ? `, ${bytes((fetched * 1000) / elapsedMs)}/s` : '';
  const failed = images.filter(({ status, code }) => status === 'failed' && code !== 'aborted');
  const interrupted = counts.failed - failed.length;
  const results = [
    `${counts.mirrored} mirrored`,
    `${counts.unchanged} unchanged`,
    ...WITHHELD.flatMap((status) => (counts[status] === 0 ? [] : [`${counts[status]} ${status}`])),
    ...(interrupted === 0 ? [] : [`${interrupted} interrupted`]),
    `${failed.length} failed`,
  ];
  const cautions = [
    ...warnings.map((warning) => `  ${shownName({ reference: warning.source, ...warning })}: ${warning.reason}`),
    ...images.flatMap((image) => (image.notes ?? []).map((note) => `  ${shownName(image)}: ${note}`)),
  ];
  const withheld = images.filter(({ status }) => WITHHELD.some((each) => each === status));
  const failures = failed.map((image) => `  ${shownName(image)}: ${image.reason ?? 'no reason given'}`);
  return [
    line(
      `${results.join(', ')}${referrers === 0 ? '' : ` and ${plural(referrers, 'referrer')}`}; ${bytes(fetched)} fetched in ${seconds(elapsedMs)}${rate}`,
    ),
    ...listed('warnings:', cautions, 'warning'),
    ...listed(
      'not visible in the archive:',
      withheld.map((image) => `  ${shownName(image)}: ${withheldReason(image)}`),
      'warning',
    ),
    ...(interrupted === 0
      ? []
      : [line(`interrupted: ${plural(interrupted, 'image')}; run the same command again to continue`, 'warning')]),
    ...listed('failed:', failures, 'failure'),
  ];
}

/** `held until 2026-01-31T00:00:00.000Z`. The reason of a drifted tag repeats the digests, and that of a rejection the status. */
function withheldReason({ status, digest, current, until, reason }: Outcome): string {
  if (status === 'rejected') return reason ?? status;
  if (current !== undefined) return `${status} from ${current} to ${digest ?? 'an unknown digest'}`;
  const end = until === undefined ? '' : ` until ${until}`;
  return `${status}${end}${reason === undefined ? '' : `: ${reason}`}`;
}

function listed(head: string, lines: readonly string[], tone: Tone): SummaryLine[] {
  return lines.length === 0 ? [] : [head, ...lines].map((text) => line(text, tone));
}

function line(text: string, tone?: Tone): SummaryLine {
  return { text: printable(text), ...(tone === undefined ? {} : { tone }) };
}
