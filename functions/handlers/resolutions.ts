import type { SQSBatchResponse, SQSEvent } from 'aws-lambda';
import { configuredPolicy, tagChoice } from '../../lib/app/choose.ts';
import { isUnknownRequest } from '../../lib/app/missing.ts';
import type { Archive } from '../../lib/archive/archive.ts';
import { type Config, registrySettings } from '../../lib/config/mirrors.ts';
import type { ResolveMessage } from '../../lib/queue/messages.ts';
import type { Queues } from '../../lib/queue/queue.ts';
import type { Sources } from '../../lib/registry/source.ts';
import type { ResolverContext } from '../../lib/sync/context.ts';
import type { ImageEvent, Observe } from '../../lib/sync/events.ts';
import { writeReport } from '../../lib/sync/reports.ts';
import { markQueued, queuedBy } from '../../lib/sync/resolver/queued.ts';
import { Quota } from '../../lib/sync/resolver/quota.ts';
import { resolve } from '../../lib/sync/resolver/resolve.ts';
import { MessageTally } from '../../lib/sync/run/message-record.ts';
import { allowed } from '../../lib/webhook/orders.ts';
import { handleBatch, type QueuePorts } from '../batch.ts';
import { failMessage } from '../fail-images.ts';
import { log } from '../telemetry.ts';

/** The prefix of runs that a person has started. */
const BY_HAND = 'request-';

/** The ports of a function that reads registries. */
export interface SourcePorts extends QueuePorts {
  readonly archive: Archive;
  readonly queues: Queues;
  readonly config: () => Promise<Config>;
  readonly sources: () => Promise<Sources>;
  readonly lanes: number;
  readonly observe: Observe;
}

export interface ResolverPorts extends SourcePorts {
  /** Sigstore's trusted root. */
  readonly trustedRoot?: () => Promise<Uint8Array | undefined>;
  /** Called for an image that an earlier run has queued. */
  readonly leftOut: (event: ImageEvent) => void;
}

export async function handleResolutions(
  event: SQSEvent,
  ports: ResolverPorts,
  signal: AbortSignal,
): Promise<SQSBatchResponse> {
  const { archive, config, queues, maxReceives } = ports;
  return handleBatch<ResolveMessage>(event, {
    ...ports,
    type: 'resolve',
    async handle({ message: given, receiveCount }, requeues) {
      const tally = new MessageTally(archive);
      const message = allowed(given, await config());
      if (message === undefined) {
        const { run, source, repository } = given;
        log('warn', 'message refused', { run, source, repository, reason: 'no mirror in mirror.yaml matches' });
      } else {
        const last = receiveCount >= maxReceives;
        await resolve(tally.watched(await contextOf(ports)), message, { receiveCount, last, requeues, signal });
      }
      await tally.write(given, { signal });
    },
    giveUp: ({ message }, failure) => failMessage({ archive, queues }, message, failure, signal),
    ready: () => contextOf(ports),
  });
}

async function contextOf(ports: ResolverPorts): Promise<ResolverContext> {
  const { archive, queues, observe, leftOut } = ports;
  const [read, sources, trustedRoot] = await Promise.all([ports.config(), ports.sources(), ports.trustedRoot?.()]);
  return {
    archive,
    queues,
    sources,
    observe,
    now: Date.now,
    lanes: registrySettings(read, ports.lanes).connections,
    // One per message, because functions share no state.
    quota: new Quota(read.limits),
    trustedRoot,
    chooseTags: (order) => tagChoice(read, order),
    policyOf: (order) => configuredPolicy(read, order),
    isExpected: isUnknownRequest,
    queuedBy: async (event, order, signal) => {
      // A manual request is processed even if an earlier run has queued the image.
      if (event.run.startsWith(BY_HAND)) return undefined;
      const run = await queuedBy(archive, event, order, Date.now(), { signal });
      if (run !== undefined) leftOut(event);
      return run;
    },
    pending: async (event, order, signal) => {
      // Reports are about requested images.
      if (event.referrer !== undefined) return;
      await writeReport(archive, event, Date.now(), { signal });
      await markQueued(archive, event, order, Date.now(), { signal });
    },
  };
}
