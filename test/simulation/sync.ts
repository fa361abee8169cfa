/** `mirror-sync sync` on a laptop: the three roles in one process, with queues of its own, over the same archive. */
import { configuredPolicy, tagChoice } from '../../lib/app/choose.ts';
import { ordersFor } from '../../lib/app/start.ts';
import type { Message } from '../../lib/queue/messages.ts';
import type { Outgoing, Queues } from '../../lib/queue/queue.ts';
import { NO_DEADLINE } from '../../lib/sync/deadline.ts';
import { failLayer } from '../../lib/sync/layer/fail-layer.ts';
import { copyLayer } from '../../lib/sync/layer/layer.ts';
import { finalize } from '../../lib/sync/finalizer/finalize.ts';
import { resolve } from '../../lib/sync/resolver/resolve.ts';
import { asFailure } from '../../lib/core/failure.ts';
import { type CachedReader, cachedReader } from '../../lib/sync/cached-reader.ts';
import { receiptReader } from '../../lib/sync/receipt-reader.ts';
import { type Instance, instanceOf } from './functions.ts';
import type { Process } from './process.ts';
import type { System } from './system.ts';

/** The layers that are copied concurrently. */
const CONCURRENCY = 3;

interface SyncRequest {
  readonly reference: string;
  /** Whether the laptop has mirror.yaml, and applies its policies instead of those that the archive has recorded. */
  readonly isConfigured?: boolean;
}

export async function sync(
  system: System,
  process: Process,
  { reference, isConfigured = false }: SyncRequest,
): Promise<void> {
  const instance = instanceOf(system, process);
  const config = await instance.config();
  const { repository, digest } = parts(reference);
  if (digest !== undefined) system.policies.asked(repository, '', digest, system.world.now);
  const messages: Message[] = ordersFor({ references: [reference] }, config, `sync-${system.world.now}`).map(
    ({ message }) => message,
  );
  const queues: Queues = {
    send: (_, outgoing: readonly Outgoing[]) => {
      messages.push(...outgoing.map(({ message }) => message));
      return Promise.resolve();
    },
  };
  const reader = cachedReader(receiptReader(instance.archive, new AbortController().signal));
  while (messages.length > 0) {
    const some = messages.splice(0, CONCURRENCY);
    await Promise.all(
      some.map((message) => handle(system, instance, { message, queues, reader, config, isConfigured })),
    );
  }
}

interface Work {
  readonly message: Message;
  readonly queues: Queues;
  /** For the one repository of the command, as in `app/local-run.ts`. */
  readonly reader: CachedReader;
  readonly config: Awaited<ReturnType<Instance['config']>>;
  readonly isConfigured: boolean;
}

function parts(reference: string): { readonly repository: string; readonly digest: string | undefined } {
  const [, repository = '', digest] = /^([^:@]+)(?::[^@]+)?(?:@(.+))?$/.exec(reference) ?? [];
  return { repository, digest };
}

async function handle(
  { world, upstream, conditions, policies }: System,
  { archive, buffers, process }: Instance,
  { message, queues, reader, config, isConfigured }: Work,
): Promise<void> {
  const signal = new AbortController().signal;
  const common = {
    archive,
    queues,
    sources: upstream.sources(process),
    observe: () => undefined,
    now: () => world.now,
  };
  const context = { ...common, buffers, lanes: () => conditions.lanes };
  const options = { receiveCount: 1, last: true, signal };
  try {
    if (message.type === 'resolve')
      await resolve(
        {
          ...context,
          chooseTags: (order) => tagChoice(config, order),
          ...(isConfigured ? { policyOf: (order) => configuredPolicy(config, order) } : {}),
        },
        message,
        options,
      );
    else if (message.type === 'layer') await copyLayer(context, message, { ...options, deadline: NO_DEADLINE });
    else {
      policies.delivered(JSON.stringify(message));
      await finalize({ archive, record: () => Promise.resolve() }, [message], { signal, reader });
    }
  } catch (error) {
    const failure = asFailure(error, 'sync', 'archive');
    world.say(process.name, `fails: ${failure.message}`);
    if (message.type === 'layer') await failLayer(context, message, failure, signal);
  }
}
