import type { Config } from '../../lib/config/mirrors.ts';
import { ordersFor, ordersOf } from '../../lib/app/start.ts';
import { idsOf } from '../../lib/sync/run/message-record.ts';
import { type RunStart, runStartOf, writeOpenStart, writeRunStart } from '../../lib/sync/runs.ts';
import { MissingConfiguration } from '../kept.ts';
import type { StartRequest } from '../request.ts';
import { log } from '../telemetry.ts';
import type { ResolverPorts } from './resolutions.ts';

/** Starts a run: sends its first messages. Repeating it is safe, because the queue drops messages that it has. */
export async function startRun(
  request: StartRequest,
  { config, queues, archive }: Pick<ResolverPorts, 'config' | 'queues' | 'archive'>,
  signal: AbortSignal,
): Promise<RunStart | undefined> {
  const { run, kind } = request;
  let read: Config;
  try {
    read = await config();
  } catch (error) {
    if (kind !== 'schedule' || !(error instanceof MissingConfiguration)) throw error;
    // A deployment may not have its configuration yet; the next scheduled run reads it again.
    log('warn', 'run not started', { run, reason: error.message });
    return undefined;
  }
  const messages = kind === 'schedule' ? ordersOf(read, run) : ordersFor(request.request, read, run);
  await queues.send('resolve', messages, { signal });
  const started = runStartOf(run, kind === 'schedule' ? 'schedule' : 'request', messages, Date.now());
  await writeRunStart(archive, started, { signal });
  await writeOpenStart(archive, { ...started, ids: idsOf(messages) }, { signal });
  return started;
}
