import { asFailure, type Failure } from '../lib/core/failure.ts';
import type { Archive } from '../lib/archive/archive.ts';
import type { ImageEvent } from '../lib/sync/events.ts';
import { findReport, type Report, writeReport } from '../lib/sync/reports.ts';
import { defined } from '../lib/core/defined.ts';
import type { Digest } from '../lib/oci/digest.ts';
import type { Cancel } from '../lib/store/store.ts';
import type { PublishImage } from './event-bus.ts';
import { observe } from './telemetry.ts';

/** `again`: the tag index already had this state. */
export type RecordImage = (event: ImageEvent, options?: { readonly again?: boolean } & Cancel) => Promise<void>;

/**
 * Records the final status of an image: event, run report, log and metrics. The report is written even if the event bus
 * refuses the event. It then contains `unsent`, and the failure is thrown, so that the next delivery of the message sends
 * the event. An event is sent at least once.
 *
 * An image that a run has mirrored keeps that status: a crashed handler fails all images of its slice, a second message
 * for a stored layer may fail, and a repeated message may meet another policy or the decision of a person.
 */
export function recordIn(archive: Archive, publish: PublishImage | undefined): RecordImage {
  const send = async (event: ImageEvent, options: Cancel): Promise<Failure | undefined> => {
    if (publish === undefined || event.status === 'unchanged') return undefined;
    return publish(event, options).then(
      () => undefined,
      (error: unknown) => asFailure(error, 'send event', 'archive'),
    );
  };
  return async (event, { again = false, signal } = {}) => {
    if (event.referrer !== undefined) {
      // Reports and events are about requested images.
      observe(event);
      return;
    }
    const found = again || !isMirrored(event) ? await findReport(archive, event, { signal }) : undefined;
    const said = found?.report;
    // Another process may record the image as mirrored at the same time; the next delivery then reads that.
    const conditionOf = (outcome: ImageEvent): Pick<Parameters<typeof writeReport>[3] & object, 'condition'> =>
      !isMirrored(outcome) && found !== undefined ? { condition: found.condition } : {};
    if (said !== undefined && isSaid(event, said, again)) {
      if (said.unsent !== true) return;
      const outcome = statusOf(event, said);
      const failure = await send(outcome, { signal });
      if (failure !== undefined) throw failure;
      await writeReport(archive, outcome, Date.now(), { ...conditionOf(outcome), signal });
      return;
    }
    const failure = await send(event, { signal });
    await writeReport(archive, event, Date.now(), { unsent: failure !== undefined, ...conditionOf(event), signal });
    observe(event);
    if (failure !== undefined) throw failure;
  };
}

function isMirrored({ status }: ImageEvent): boolean {
  return status === 'mirrored' || status === 'unchanged';
}

/** Whether the report already has this status, or a final one. */
function isSaid(event: ImageEvent, said: Report, again: boolean): boolean {
  if (said.status === event.status && (again || said.unsent === true)) return true;
  return said.status === 'mirrored' && (event.digest ?? said.digest) === said.digest;
}

/** The event with the status of the report. */
function statusOf(event: ImageEvent, report: Report): ImageEvent {
  const { type, run, source, repository, reference, tag } = event;
  const { status, changes, until, code, reason, notes } = report;
  const digest = (report.digest as Digest | undefined) ?? event.digest;
  const previous = report.previous as Digest | undefined;
  const current = report.current as Digest | undefined;
  const name = { type, run, source, repository, reference, tag };
  return { ...name, status, ...defined({ digest, previous, changes, current, until, code, reason, notes }) };
}
