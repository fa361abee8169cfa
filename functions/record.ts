import { EventBridgeClient, PutEventsCommand } from '@aws-sdk/client-eventbridge';
import { Failure } from '../lib/base/failure.ts';
import type { Archive } from '../lib/archive/archive.ts';
import type { ImageEvent } from '../lib/mirror/events.ts';
import { readReportOf, writeReport } from '../lib/mirror/reports.ts';
import { once } from './aws.ts';
import { observe } from './telemetry.ts';

const bridge = once(() => new EventBridgeClient({}));

/**
 * The final word on an image: onto the event bus, into the run report, into log and metrics. In this order, so that a
 * report says that the event was sent: who comes again, with one more layer of an image that is done, stays silent. An
 * event is sent at least once, like everything else here.
 *
 * What a run has mirrored has not failed, whoever says so later: a slice of tags that crashed in the end says it of all its
 * images, and a layer that was asked for twice of one that is there.
 */
export function recordIn(
  archive: Archive,
  eventBus: string | undefined,
): (event: ImageEvent, again?: boolean) => Promise<void> {
  return async (event, again = false) => {
    if (again || event.status === 'failed') {
      const said = await readReportOf(archive, event);
      if (again && said?.status === event.status) return;
      if (said?.status === 'mirrored' && (event.digest ?? said.digest) === said.digest) return;
    }
    if (eventBus !== undefined && event.status !== 'unchanged') await publish(event, eventBus);
    await writeReport(archive, event, Date.now());
    observe(event);
  };
}

async function publish(event: ImageEvent, eventBus: string): Promise<void> {
  const { run, source, repository, reference, tag, digest, previous, status, code, reason, notes } = event;
  // Which deployment it is, as in the metrics' dimension: several may share a bus.
  const service = process.env['POWERTOOLS_SERVICE_NAME'];
  const { FailedEntryCount = 0, Entries = [] } = await bridge().send(
    new PutEventsCommand({
      Entries: [
        {
          EventBusName: eventBus,
          Source: 'mirror-sync',
          DetailType: status === 'failed' ? 'Image Failed' : 'Image Mirrored',
          Detail: JSON.stringify({
            service,
            run,
            source,
            repository,
            reference,
            tag,
            digest,
            previous,
            status,
            code,
            reason,
            notes,
          }),
        },
      ],
    }),
  );
  if (FailedEntryCount === 0) return;
  const detail = `${Entries[0]?.ErrorCode ?? ''}: ${Entries[0]?.ErrorMessage ?? 'it does not say why'}`;
  throw new Failure({ operation: `tell event bus ${eventBus}`, side: 'archive', code: 'unavailable', detail });
}
