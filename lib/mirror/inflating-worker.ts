/** The other end of `inflating-threads.ts`. It only wires. */
import { parentPort } from 'node:worker_threads';
import { asFailure } from '../base/failure.ts';
import { release } from '../base/release.ts';
import { type FromThread, GIVEN_UP, OUTSTANDING_BYTES, type ToThread } from './inflating-threads.ts';
import { SyncInflater } from './sync-inflate.ts';

/** Bytes that are handed over at once. */
const BATCH_BYTES = 256 * 1024;

interface Work {
  readonly inflater: SyncInflater;
  /** Bytes that were handed over and are not hashed yet. */
  readonly outstanding: Int32Array;
}

const works = new Map<number, Work>();

/** What came out last and is not handed over: of the one inflater that is at work. */
let batch: Uint8Array<ArrayBuffer>[] = [];
let batched = 0;

function tell(message: FromThread, transfer: ArrayBuffer[] = []): void {
  parentPort?.postMessage(message, transfer);
}

function handOver(inflater: number, outstanding: Int32Array): void {
  if (batched === 0) return;
  const before = Atomics.add(outstanding, 0, batched);
  if (before < GIVEN_UP / 2) throw new Error('nobody wants the rest');
  const chunks = batch;
  batch = [];
  batched = 0;
  tell(
    { kind: 'out', inflater, chunks },
    chunks.map(({ buffer }) => buffer),
  );
  // Nobody is in a hurry here: whoever takes it wakes us.
  for (let left = Atomics.load(outstanding, 0); left > OUTSTANDING_BYTES; left = Atomics.load(outstanding, 0))
    Atomics.wait(outstanding, 0, left);
}

function open({ inflater: id, compression, outstanding }: Extract<ToThread, { kind: 'open' }>): Work {
  const inflater = new SyncInflater(compression, (chunk) => {
    // One that shares its buffer cannot be given away.
    const own = chunk.length === chunk.buffer.byteLength ? (chunk as Uint8Array<ArrayBuffer>) : Uint8Array.from(chunk);
    batch.push(own);
    batched += own.length;
    if (batched >= BATCH_BYTES) handOver(id, outstanding);
  });
  return { inflater, outstanding };
}

parentPort?.on('message', (message: ToThread) => {
  const { inflater: id } = message;
  if (message.kind === 'open') {
    works.set(id, open(message));
    return;
  }
  const work = works.get(id);
  if (work === undefined) return;
  const { inflater, outstanding } = work;
  if (message.kind === 'destroy') {
    inflater.destroy();
    works.delete(id);
    return;
  }
  try {
    if (message.kind === 'write') {
      inflater.write(message.bytes);
      release(message.bytes);
    } else inflater.end();
    handOver(id, outstanding);
    tell({ kind: 'done', inflater: id });
  } catch (error) {
    batch = [];
    batched = 0;
    const { operation, side, code, detail } = asFailure(error, 'inflate', 'archive');
    tell({ kind: 'done', inflater: id, failure: { operation, side, code, detail } });
  }
});
