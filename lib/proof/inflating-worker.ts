/** The thread of `inflating-threads.ts`. */
import { parentPort } from 'node:worker_threads';
import { release } from '../core/release.ts';
import { asFailure, type Failure } from '../core/failure.ts';
import type { FromThread, ToThread } from './inflating-threads.ts';
import { destroyed, StreamInflater } from './stream-inflater.ts';

const inflaters = new Map<number, StreamInflater>();

async function run(message: ToThread): Promise<Omit<FromThread, 'request'>> {
  if (message.kind === 'open') {
    inflaters.set(message.inflater, new StreamInflater(message.options));
    return {};
  }
  const inflater = inflaters.get(message.inflater);
  if (inflater === undefined) throw destroyed();
  if (message.kind === 'write') {
    await inflater.write(message.bytes);
    release(message.bytes);
  }
  if (message.kind === 'end') return { diffIds: await inflater.end() };
  if (message.kind === 'destroy') {
    inflaters.delete(message.inflater);
    await inflater.destroy();
  }
  return {};
}

function plain({ operation, side, code, detail }: Failure): FromThread['failure'] {
  return { operation, side, code, detail };
}

parentPort?.on('message', (message: ToThread) => {
  void run(message)
    .catch((error: unknown) => ({ failure: plain(asFailure(error, 'inflate', 'archive')) }))
    .then((result) => parentPort?.postMessage({ request: message.request, ...result } satisfies FromThread));
});
