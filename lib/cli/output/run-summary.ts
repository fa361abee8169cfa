/** Prints the summary of a run that has ended. */
import { shownName } from '../../app/outcomes.ts';
import { plural } from '../../core/format.ts';
import type { RunSummary, SummaryImage } from '../../sync/run/summary.ts';
import { EXIT, type Output, writeJson, writeLine } from './io.ts';

/** The fields of a summary in the last line of `status --json`. */
export function closedFields({ outcome, finished, counts, referrers, moved, missing, omitted }: RunSummary): object {
  return { outcome, finished, counts, referrers, moved, missing, omitted };
}

/** `finished 2026-01-31T00:05:00.000Z: 3 mirrored, 97 unchanged, 0 failed; 1 tag moved` */
export function closedLine({ outcome, finished, counts, referrers, moved, missing }: RunSummary): string {
  const numbers = Object.entries(counts).map(([status, count]) => `${count} ${status}`);
  const found =
    referrers === undefined ? '' : `; ${plural(referrers.mirrored, 'referrer')} mirrored, ${referrers.failed} failed`;
  const tags = moved === 0 ? '' : `; ${plural(moved, 'tag')} moved`;
  const lost =
    missing === undefined
      ? ''
      : `; ${plural(missing.messages, 'message')} and ${plural(missing.images, 'image')} have no result`;
  return `${outcome} ${finished}: ${numbers.join(', ')}${found}${tags}${lost}`;
}

/** Prints a run that has no reports: a sync on the command line. Resolves to the exit code. */
export function printClosed(summary: RunSummary, isJson: boolean, stdout: Output): number {
  const { run, by, started, finished: at, images, repositories, omitted = 0 } = summary;
  const failed = summary.counts['failed'] ?? 0;
  if (isJson) {
    for (const image of images) writeJson(stdout, { type: 'report', ...image, at });
    const { mirrored = 0 } = summary.counts;
    const counts = { mirrored, failed, pending: 0 };
    writeJson(stdout, { type: 'summary', run, started, by, repositories, ...counts, ...closedFields(summary) });
  } else {
    writeLine(stdout, `run ${run}, started ${started} for ${plural(repositories, 'repository', 'repositories')}`);
    for (const image of images) writeLine(stdout, `  ${image.status.padEnd(9)} ${shownName(image)}${detailOf(image)}`);
    if (omitted > 0) writeLine(stdout, `  and ${plural(omitted, 'more image')}`);
    writeLine(stdout, closedLine(summary));
  }
  return failed === 0 ? EXIT.ok : EXIT.failed;
}

function detailOf({ digest = '', previous, reason }: SummaryImage): string {
  if (reason !== undefined) return `: ${reason}`;
  return previous === undefined ? `  ${digest}` : `  ${digest} (moved from ${previous})`;
}
