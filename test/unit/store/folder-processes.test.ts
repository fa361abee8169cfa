import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { FolderStore } from '../../../lib/store/folder/store.ts';
import type { ObjectStore } from '../../../lib/store/store.ts';
import { tempFolder } from '../../kit/temp.ts';
import { everything, NEW, OLD, part, PART_SIZE } from './processes/programs.ts';

const PROGRAMS = join(import.meta.dirname, 'processes/programs.ts');
const DIE_AT_STEP = join(import.meta.dirname, 'processes/die-at-step.ts');

interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly output: string;
}

function start(name: string, folder: string, dieAt?: number): ChildProcess {
  const dying = dieAt === undefined ? {} : { MIRROR_SYNC_TEST_DIE_AT: String(dieAt) };
  const child = spawn(process.execPath, ['--import', DIE_AT_STEP, PROGRAMS, name, folder], {
    // Compiling them once takes a third of the time.
    env: { ...process.env, NODE_OPTIONS: '', NODE_COMPILE_CACHE: join(folder, '../compiled'), ...dying },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  onTestFinished(() => void child.kill('SIGKILL'));
  return child;
}

async function ended(child: ChildProcess): Promise<Ended> {
  let output = '';
  child.stdout?.on('data', (chunk: Buffer) => (output += chunk.toString()));
  const [code, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null];
  return { code, signal, output };
}

async function bytesOf(store: ObjectStore, key: string): Promise<string | undefined> {
  const read = await store.read(key);
  return read === undefined ? undefined : Buffer.concat(await Array.fromAsync(read.body)).toString();
}

function oneOf(actual: string | undefined, ...expected: readonly (Buffer | string | undefined)[]): void {
  const whole = expected.some((one) => one?.toString() === actual);
  expect(whole, `${actual?.length} bytes: ${actual?.slice(0, 40)}`).toBe(true);
}

/** The invariants after a process was killed during `everything`. */
async function checkWhole(store: ObjectStore): Promise<void> {
  const keys = (await Array.fromAsync(store.list(''))).map(({ key }) => key);
  expect(['blobs/parts', 'plain/object', 'reference']).toEqual(expect.arrayContaining(keys));
  oneOf(await bytesOf(store, 'plain/object'), OLD, NEW, undefined);
  oneOf(await bytesOf(store, 'reference'), '1', '2', undefined);
  oneOf(await bytesOf(store, 'blobs/parts'), Buffer.concat([part(1, 2), part(2, 2), part(3)]), undefined);

  // A listed upload can be continued, and its listed parts exist: completed, it has these bytes.
  for await (const upload of store.uploads('')) {
    const parts = await Array.fromAsync(store.parts(upload));
    const landed = new Set(parts.map(({ number }) => number));
    for (const number of [1, 2, 3])
      if (!landed.has(number)) parts.push(await store.uploadPart(upload, number, part(number)));
    await store.completeUpload(
      upload,
      parts.sort((a, b) => a.number - b.number),
    );
    const bytes = (await bytesOf(store, upload.key)) ?? '';
    oneOf(bytes.slice(0, PART_SIZE), part(1), part(1, 2));
    oneOf(bytes.slice(PART_SIZE, 2 * PART_SIZE), part(2), part(2, 2));
    oneOf(bytes.slice(2 * PART_SIZE), part(3));
  }
}

// A process puts, replaces, uploads in parts, completes, aborts and deletes. It is killed before every call that
// changes the file system, and in the middle of every write.
test(
  'after SIGKILL at any step, objects are complete, uploads can be continued, and a repetition finishes',
  { timeout: 120_000 },
  async () => {
    await using folder = await tempFolder();
    const whole = await ended(start('everything', folder.join('whole')));
    expect(whole).toMatchObject({ code: 0 });
    const steps = Number(/steps (\d+)/.exec(whole.output)?.[1]);
    expect(steps).toBeGreaterThan(40);

    const dieAt = async (step: number): Promise<void> => {
      const path = folder.join(`step-${step}`);
      expect(await ended(start('everything', path, step)), `at step ${step}`).toMatchObject({ signal: 'SIGKILL' });
      await using store = new FolderStore(path);
      await checkWhole(store);
      await everything(store);
      expect(await bytesOf(store, 'blobs/parts')).toBe(Buffer.concat([part(1, 2), part(2, 2), part(3)]).toString());
      expect(await bytesOf(store, 'reference')).toBe('2');
      expect(await Array.fromAsync(store.uploads(''))).toEqual([]);
    };
    const left = Array.from({ length: steps }, (_, index) => index + 1);
    const worker = async (): Promise<void> => {
      try {
        for (let step = left.shift(); step !== undefined; step = left.shift()) await dieAt(step);
      } finally {
        // If one fails, the others stop.
        left.length = 0;
      }
    };
    const workers = await Promise.allSettled([worker(), worker()]);
    for (const outcome of workers) if (outcome.status === 'rejected') throw outcome.reason;
  },
);

test('conditional writes lose no update of three processes', { timeout: 60_000 }, async () => {
  await using folder = await tempFolder();
  const path = folder.join('archive');
  const children = [1, 2, 3].map(() => ended(start('count-up', path)));
  for (const child of await Promise.all(children)) expect(child).toMatchObject({ code: 0 });
  await using store = new FolderStore(path);
  expect(await bytesOf(store, 'reference')).toBe('75');
});

// Another process must not write to a file that may have become an object.
test(
  'an upload belongs to one process, and can be continued after that process was killed',
  { timeout: 60_000 },
  async () => {
    await using folder = await tempFolder();
    await using store = new FolderStore(folder.join('archive'));
    const child = start('linger', folder.join('archive'));
    const end = ended(child);
    try {
      await once(child.stdout!, 'data');
      expect(await Array.fromAsync(store.uploads(''))).toEqual([]);
    } finally {
      child.kill('SIGKILL');
    }
    expect(await end).toMatchObject({ signal: 'SIGKILL' });
    const [upload] = await Array.fromAsync(store.uploads('blobs/'));
    const landed = await Array.fromAsync(store.parts(upload!));
    expect(landed).toMatchObject([{ number: 1, size: PART_SIZE }]);
    await store.completeUpload(upload!, [...landed, await store.uploadPart(upload!, 2, part(2))]);
    oneOf(await bytesOf(store, 'blobs/parts'), Buffer.concat([part(1), part(2)]));
  },
);
