import type { Context } from 'aws-lambda';
import { isFill } from '../lib/app/missing.ts';
import { readEnvironment } from '../lib/config/environment.ts';
import { notify, parseReceiver } from '../lib/notify/notify.ts';
import { parseKey } from '../lib/notify/signature.ts';
import { changeMessage } from '../lib/queue/outgoing.ts';
import { closeRuns } from '../lib/sync/run/close-runs.ts';
import type { Receiver } from '../lib/sync/run/deliver.ts';
import { emptyMemory } from '../lib/sync/run/open-run.ts';
import { isNotable, notificationOf } from '../lib/sync/run/summary.ts';
import { once, openArchive, openQueues, secretFrom } from './aws.ts';
import { sendRunFinished } from './event-bus.ts';
import { signalOf } from './signal.ts';
import { log, observed, runFinished } from './telemetry.ts';

const wired = once(() => {
  const env = readEnvironment(process.env, 'archive', 'finalizeQueue', 'eventBus', 'runWebhook', 'runWebhookSecret');
  const { eventBus, runWebhook, runWebhookSecret } = env;
  return {
    archive: openArchive(env.archive),
    queues: openQueues({ finalize: env.finalizeQueue }),
    memory: emptyMemory(),
    receivers: [
      ...(eventBus === undefined ? [] : [eventsTo(eventBus)]),
      ...(runWebhook === undefined || runWebhookSecret === undefined ? [] : [webhookTo(runWebhook, runWebhookSecret)]),
    ],
  };
});

function eventsTo(eventBus: string): Receiver {
  return { name: 'event', deliver: (summary, signal) => sendRunFinished(summary, eventBus, { signal }) };
}

function webhookTo(text: string, secret: string): Receiver {
  const url = parseReceiver(text, 'read MIRROR_SYNC_RUN_WEBHOOK');
  const read = secretFrom(secret, (value) => parseKey(value, 'the key of notifications'));
  return {
    name: 'webhook',
    async deliver(summary, signal) {
      if (isNotable(summary)) await notify({ url, key: await read(), ...notificationOf(summary) }, { signal });
    },
  };
}

/** Closes the runs that are finished. A schedule starts it every five minutes. */
export const handler = (_event: unknown, context: Context): Promise<{ readonly closed: number }> =>
  observed(context, async () => {
    const { archive, queues, memory, receivers } = wired();
    const signal = signalOf(context);
    const closed = await closeRuns(
      {
        archive,
        receivers,
        now: Date.now,
        triggerOf: (run) => (isFill(run) ? 'fill' : 'push'),
        firstRunFinished: (repository, run) => {
          const order = { run, source: repository, repository, platforms: 'all' } as const;
          return queues.send('finalize', [changeMessage(order, { completed: Date.now() })], { signal });
        },
        closed: runFinished,
        log,
        signal,
      },
      memory,
    );
    return { closed: closed.length };
  });
