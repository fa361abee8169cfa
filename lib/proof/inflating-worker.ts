/** The worker side of `inflating-threads.ts`. It only connects the parts. */
import { parentPort, workerData } from 'node:worker_threads';
import { asFailure } from '../core/failure.ts';
import { release } from '../core/release.ts';
import { type FromThread, type Ring, slot, SLOTS, type ToThread } from './inflating-threads.ts';
import { SyncInflater } from './sync-inflate.ts';

const { memory, taken } = workerData as Ring;

const inflaters = new Map<number, SyncInflater>();

/** The number of slots that were filled and handed over so far. */
let filled = 0;

function tell(message: FromThread): void {
  parentPort?.postMessage(message);
}

/** Waits for a free slot. Blocking is safe here: the main thread wakes this one after it has emptied a slot. */
function room(): Uint8Array {
  for (let count = Atomics.load(taken, 0); filled - count >= SLOTS; count = Atomics.load(taken, 0))
    Atomics.wait(taken, 0, count);
  return slot(memory, filled);
}

function open({ inflater, compression, windowLog, wanted }: Extract<ToThread, { kind: 'open' }>): SyncInflater {
  const output = {
    room,
    filled: (length: number): void => {
      if (Atomics.load(wanted, 0) === 0) throw new Error('the rest is not wanted');
      tell({ kind: 'out', inflater, slot: filled, length });
      filled += 1;
    },
  };
  return new SyncInflater(compression, output, windowLog);
}

parentPort?.on('message', (message: ToThread) => {
  const { inflater: id } = message;
  if (message.kind === 'open') {
    inflaters.set(id, open(message));
    return;
  }
  const inflater = inflaters.get(id);
  if (inflater === undefined) return;
  if (message.kind === 'destroy') {
    inflater.destroy();
    inflaters.delete(id);
    tell({ kind: 'done', inflater: id });
    return;
  }
  try {
    if (message.kind === 'write') {
      inflater.write(message.bytes);
      release(message.bytes);
    } else inflater.end();
    tell({ kind: 'done', inflater: id });
  } catch (error) {
    const { operation, side, code, detail } = asFailure(error, 'inflate', 'archive');
    tell({ kind: 'done', inflater: id, failure: { operation, side, code, detail } });
  }
});
