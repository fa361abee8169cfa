/** `npm run simulate`: runs schedules, names those that fail, reduces the first one, and prints its trace. */
import './silence.ts';
import { availableParallelism, tmpdir } from 'node:os';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { fromJson, toJson } from './file.ts';
import { reduced } from './reduce.ts';
import { type Ended, runSchedule, scheduleOf } from './schedule.ts';
import { START } from './world.ts';

const USAGE = `npm run simulate -- [--schedules N] [--seed S] [--workers W]   runs N schedules, from seed S
npm run simulate -- --seed S --trace                              prints the trace of one schedule
npm run simulate -- --replay FILE                                 prints the trace of a reduced or kept schedule`;

interface Share {
  readonly seed: number;
  readonly schedules: number;
  readonly workers: number;
  /** Ends with the first schedule that fails. */
  readonly first: boolean;
}

interface Result {
  /** The seeds of the schedules that failed. */
  readonly failed: readonly number[];
  readonly schedules: number;
  readonly steps: number;
}

/** Runs every `workers`-th schedule from `seed`. */
async function runShare({ seed, schedules, workers, first }: Share): Promise<Result> {
  const failed: number[] = [];
  let [count, steps] = [0, 0];
  for (let at = seed; count < schedules; at += workers) {
    const ended = await runSchedule(scheduleOf(at));
    count += 1;
    steps += ended.steps;
    if (ended.violation !== undefined) failed.push(at);
    if (first && failed.length > 0) break;
  }
  return { failed, schedules: count, steps };
}

function inWorker(share: Share): Promise<Result> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL(import.meta.url), { workerData: share });
    worker.once('message', resolve).once('error', reject);
  });
}

/** Node keeps the signals of killed processes for the life of their thread, so a thread runs a part of the share. */
const PER_THREAD = 500;

/** @param onResult gets the result of each part */
async function inWorkers(share: Share, onResult: (result: Result) => void): Promise<readonly Result[]> {
  const results: Result[] = [];
  for (let at = 0; at < share.schedules; at += PER_THREAD) {
    const part = { seed: share.seed + at * share.workers, schedules: Math.min(PER_THREAD, share.schedules - at) };
    const result = await inWorker({ ...share, ...part });
    results.push(result);
    onResult(result);
    if (share.first && result.failed.length > 0) break;
  }
  return results;
}

function printTrace({ trace }: Ended): void {
  for (const { at, who, what } of trace)
    console.log(`${((at - START) / 1_000).toFixed(3).padStart(12)} s  ${who.padEnd(28)}  ${what}`);
}

async function report(seed: number): Promise<void> {
  const schedule = scheduleOf(seed);
  const ended = await runSchedule(schedule);
  console.log(
    `\nschedule ${seed} fails: ${ended.violation ?? ''}\nreducing ${schedule.actions.length} actions and ${ended.faults.size} faults`,
  );
  const shorter = await reduced(schedule, ended);
  printTrace(shorter.ended);
  const file = join(tmpdir(), `simulation-${seed}.json`);
  writeFileSync(file, toJson({ about: shorter.ended.violation ?? '', schedule: shorter.schedule }));
  const { actions, faults } = shorter.schedule;
  console.log(
    `\n${actions.length} actions and ${faults?.size ?? 0} faults are left; replay them with npm run simulate -- --replay ${file}`,
  );
}

/** The schedules after which a long run reports its progress. */
const REPORTED = 2_500;

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      schedules: { type: 'string', default: '2000' },
      seed: { type: 'string', default: '1' },
      workers: { type: 'string', default: String(availableParallelism()) },
      trace: { type: 'boolean', default: false },
      replay: { type: 'string' },
      // Ends with the first violation, and only names it.
      first: { type: 'boolean', default: false },
    },
  });
  const [seed, all, workers] = [Number(values.seed), Number(values.schedules), Number(values.workers)];
  if (![seed, all, workers].every((value) => Number.isSafeInteger(value) && value > 0)) {
    console.error(`--seed, --schedules and --workers are positive whole numbers\n${USAGE}`);
    return 2;
  }
  if (values.trace || values.replay !== undefined) {
    const schedule =
      values.replay === undefined ? scheduleOf(seed) : fromJson(readFileSync(values.replay, 'utf8')).schedule;
    const ended = await runSchedule(schedule);
    printTrace(ended);
    console.log(ended.violation === undefined ? 'all invariants hold' : `violated: ${ended.violation}`);
    return ended.violation === undefined ? 0 : 1;
  }
  const began = performance.now();
  const count = Math.min(workers, all);
  const shares = Array.from({ length: count }, (_, index) => ({
    seed: seed + index,
    schedules: Math.floor((all - index - 1) / count) + 1,
    workers: count,
    first: values.first,
  }));
  let ran = 0;
  const onResult = ({ schedules, failed }: Result): void => {
    const before = ran;
    ran += schedules;
    const seeds = failed.length === 0 ? '' : `, failed: ${failed.join(', ')}`;
    const isDue = Math.floor(ran / REPORTED) > Math.floor(before / REPORTED);
    if (isDue || failed.length > 0) console.error(`${ran} of ${all} schedules${seeds}`);
  };
  const results = (await Promise.all(shares.map((share) => inWorkers(share, onResult)))).flat();
  const sum = (of: (result: Result) => number): number => results.reduce((total, result) => total + of(result), 0);
  const failed = results.flatMap((result) => result.failed).sort((a, b) => a - b);
  const seconds = ((performance.now() - began) / 1_000).toFixed(0);
  console.log(
    `${sum((result) => result.schedules)} schedules from seed ${seed}, ${sum(({ steps }) => steps)} events, ${failed.length} failed, ${seconds} s`,
  );
  const [first] = failed;
  if (first === undefined) return 0;
  console.log(`failed: ${failed.join(', ')}`);
  if (values.first) {
    const { violation = '' } = await runSchedule(scheduleOf(first));
    console.log(`schedule ${first} fails: ${violation}`);
  } else await report(first);
  return 1;
}

if (isMainThread) process.exitCode = await main();
else parentPort?.postMessage(await runShare(workerData as Share));
