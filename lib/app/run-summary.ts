/** The summary of a sync on this machine: an object in the archive, and a notification. */
import type { Archive } from '../archive/archive.ts';
import { asFailure } from '../core/failure.ts';
import { notify } from '../notify/notify.ts';
import { notificationOf, type RunSummary, type SummaryImage, summaryOf, writeSummary } from '../sync/run/summary.ts';
import type { Outcome, Summary } from './outcomes.ts';
import type { SyncHost } from './sync.ts';

/** The receiver of a notification about the run. */
export interface NotifyTarget {
  readonly url: URL;
  readonly key: Uint8Array;
}

/** After an interruption, a notification must not delay the end of the process for longer. */
const INTERRUPTED_MS = 5_000;
const NOTIFY_MS = 120_000;

export function runSummaryOf(summary: Summary, finished: number): RunSummary {
  const { run, images, elapsedMs } = summary;
  const timeOf = (ms: number): string => new Date(ms).toISOString();
  const repositories = new Set(images.map(({ repository }) => repository)).size;
  const isIncomplete = images.some(({ code }) => code === 'aborted');
  const facts = {
    run,
    by: 'sync',
    outcome: isIncomplete ? 'incomplete' : 'finished',
    started: timeOf(finished - elapsedMs),
    finished: timeOf(finished),
  } as const;
  return summaryOf(facts, images.map(imageOf), {}, repositories);
}

function imageOf({ digest, ...image }: Outcome): SummaryImage {
  return { ...image, ...(digest === null ? {} : { digest }) };
}

/**
 * Writes the summary into the archive, unless every image is unchanged: such a sync writes nothing. Then sends it. A failure is
 * a notice, since the images are mirrored.
 */
export async function reportRun(
  summary: RunSummary,
  archive: Archive,
  { target, signal, notice }: Pick<SyncHost, 'signal' | 'notice'> & { readonly target: NotifyTarget | undefined },
): Promise<void> {
  const attempt = async (operation: string, work: () => Promise<unknown>): Promise<void> => {
    try {
      await work();
    } catch (error) {
      notice(
        `the summary of the run was not ${operation}: ${asFailure(error, operation, 'archive').message}`,
        'warning',
      );
    }
  };
  if (summary.images.length > 0) await attempt('written', () => writeSummary(archive, summary));
  if (target === undefined) return;
  const limit = AbortSignal.timeout(signal.aborted ? INTERRUPTED_MS : NOTIFY_MS);
  await attempt('sent', () => notify({ ...target, ...notificationOf(summary) }, { signal: limit }));
}
