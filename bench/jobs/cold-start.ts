/** Cold starts of the functions' bundles under Lambda's runtime client: time, size and memory, each by cause. */
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { deflateRawSync } from 'node:zlib';
import { functions } from '../../scripts/bundle.ts';
import { flagsFor, Sandbox, type SandboxOptions } from '../../test/kit/lambda/sandbox.ts';
import { buildBundles } from '../../test/kit/lambda/stack.ts';
import { startS3Server } from '../../test/kit/s3-server.ts';
import { tempFolder } from '../../test/kit/temp.ts';
import type { Bench, Job } from '../kit/bench.ts';
import { bundleOfImports, bytesByPackage } from '../kit/bundles.ts';
import { firstEvents } from '../kit/first-events.ts';
import { type Aim, aimsTable, megabytes, ratio, table } from '../kit/report.ts';
import { median } from '../kit/standings.ts';

/** Parts of the bundles that are measured separately, each with the modules that import it. */
const PARTS: Readonly<Record<string, readonly string[]>> = {
  'the S3 client, and the archive on it': ['lib/store/s3/store.ts'],
  'with it the clients of SQS and Secrets Manager': ['lib/store/s3/store.ts', 'functions/aws.ts'],
  'undici, and what asks registries': ['lib/registry/sources.ts'],
  'yaml, and the configuration': ['lib/config/config.ts'],
  "powertools' logger and metrics": ['functions/telemetry.ts'],
};

const NOTHING = 'no code at all';

interface Candidate {
  readonly name: string;
  readonly options: Omit<SandboxOptions, 'onLog'>;
  readonly event: unknown;
}

/**
 * One start: the milliseconds to the first request for an event, and from there to the response; the processor time of
 * both in milliseconds; the peak memory in bytes.
 */
interface Start {
  readonly init: number;
  readonly first: number;
  readonly cpu: number;
  readonly peak: number;
}

export const coldStart: Job = async (bench) => {
  const title = 'Cold starts';
  const lacks = bench.tools.lacks(['versitygw']);
  if (lacks !== undefined) return { title, sections: [`Skipped: ${lacks}.`] };
  await using bundles = await buildBundles();
  await using folder = await tempFolder();
  const server = await startS3Server();
  if ('skipped' in server) throw new Error(server.skipped);
  await using s3 = server;
  await using events = await firstEvents(bundles, s3);

  const idle = async (name: string, modules: readonly string[]): Promise<Candidate & { readonly size: number }> => {
    const bundle = folder.join(name, 'index.mjs');
    const size = await bundleOfImports(modules, bundle);
    const options = { name, bundle, environment: {}, memory: 512, timeoutMs: 10_000 };
    return { name, size, options, event: {} };
  };
  const nothing = await idle(NOTHING, []);
  const parts = await Promise.all(Object.entries(PARTS).map(([name, modules]) => idle(name, modules)));
  const cache = folder.join('cache');
  const compiled = await Promise.all(events.all.map((event) => compiledBefore(event, cache)));

  process.stderr.write('cold starts\n');
  const starts = await inTurns(bench, [nothing, ...events.all, ...parts, ...compiled]);
  const node = await nodeAlone(bench);
  const base = starts.get(NOTHING) ?? [];
  const sections = [
    `A sandbox is started for its first event, as Lambda does it: a process of Node.js with aws-lambda-ric, its native part
replaced by a few lines of JavaScript, and the built bundle. *Init* is the time from the start of the process to its first
question for an event, *first event* that from the event to its answer, against an S3 server, a queue and a registry on this
machine. Lambda adds what it takes to fetch the package and start a machine, and has other processors.`,
    table(
      [
        '',
        'init, ms',
        'of Node.js',
        'first event, ms',
        'together, ms',
        'CPU, ms',
        'bundle, KB',
        'zipped, KB',
        'peak RSS, MB',
      ],
      [
        ['Node.js alone (`node -e 0`)', node.toFixed(0), '1.00', '', '', '', '', ''],
        ['with the runtime client and a function that does nothing', ...startCells(base, node), '', '', peakCell(base)],
        ...(await Promise.all(
          events.all.map(async ({ name, does, options }) => {
            const own = starts.get(name) ?? [];
            const bytes = await readFile(options.bundle);
            const sizes = [kilobytes(bytes.length), kilobytes(deflateRawSync(bytes, { level: 9 }).length)];
            return [`${name} (${does})`, ...startCells(own, node), ...sizes, peakCell(own)];
          }),
        )),
      ],
    ),
    '## Where the time goes',
    `What parts of the bundles add to the init of a function that does nothing, each alone; they share some of it.`,
    table(
      ['', 'init, ms', 'bundle, KB'],
      parts.map(({ name, size }) => [name, `+ ${added(starts.get(name), base)}`, kilobytes(size)]),
    ),
    `Of a bundle's own share, this is what compiling it takes: what is saved where V8 finds the code that it has compiled before
(\`NODE_COMPILE_CACHE\`). On Lambda it finds nothing: each sandbox begins with an empty \`/tmp\`, which the cache would be written
to at the earliest when it is of no use any more; and one in the package would have to be made by the very Node.js, V8
flags and processor that Lambda has at that moment.`,
    table(
      ['', 'init, ms', 'compiled before, ms', 'saved, ms'],
      events.all.map(({ name }) => {
        const [without, cached] = [starts.get(name), starts.get(compiledName(name))];
        return [name, added(without, []), added(cached, []), added(without, cached)];
      }),
    ),
    '## Where the bytes go, in KB',
    await bytesTable(),
    '## Aims',
    aimsTable(
      (
        await Promise.all(
          events.all.map(async ({ name, options }): Promise<Aim[]> => {
            const own = starts.get(name) ?? [];
            const { length } = await readFile(options.bundle);
            return [
              { what: `${name}: start to first answer`, is: together(own), wanted: { atMost: 250 }, unit: 'ms' },
              { what: `${name}: bundle`, is: length / 1e6, wanted: { atMost: 1 }, unit: 'MB' },
            ];
          }),
        )
      ).flat(),
    ),
  ];
  return { title, sections };
};

/** Measures every candidate once per turn. */
async function inTurns(
  { repetitions, signal }: Bench,
  candidates: readonly Candidate[],
): Promise<Map<string, Start[]>> {
  const starts = new Map<string, Start[]>(candidates.map(({ name }) => [name, []]));
  for (let turn = 0; turn < repetitions; turn += 1)
    for (const candidate of candidates) {
      signal.throwIfAborted();
      starts.get(candidate.name)?.push(await startOf(candidate));
    }
  return starts;
}

async function startOf({ name, options, event }: Candidate): Promise<Start> {
  const said: string[] = [];
  const sandbox = await Sandbox.start({ ...options, onLog: (line) => said.push(line) });
  try {
    const { outcome, initMs = NaN, durationMs, cpuMs = NaN, peakBytes = NaN } = await sandbox.invoke(event);
    const failed = 'error' in outcome || JSON.stringify(outcome.payload ?? {}).includes('itemIdentifier');
    if (failed) throw new Error(`${name} has failed:\n${JSON.stringify(outcome)}\n${said.join('\n')}`);
    return { init: initMs, first: durationMs, cpu: cpuMs, peak: peakBytes };
  } finally {
    await sandbox.close();
  }
}

/**
 * The same function with a filled V8 cache. A separate process fills the cache and exits normally, because a killed
 * sandbox does not write it.
 */
async function compiledBefore(candidate: Candidate, cache: string): Promise<Candidate> {
  const { name, options } = candidate;
  const environment = { ...options.environment, NODE_COMPILE_CACHE: cache };
  const sandbox = { ...options, environment };
  await promisify(execFile)(process.execPath, [...flagsFor(options.memory), '--import', options.bundle, '-e', '0'], {
    env: environment,
  });
  return { name: compiledName(name), options: sandbox, event: candidate.event };
}

function compiledName(name: string): string {
  return `${name}, compiled before`;
}

/** Milliseconds. */
async function nodeAlone({ repetitions, signal }: Bench): Promise<number> {
  const times: number[] = [];
  for (let turn = 0; turn < repetitions; turn += 1) {
    const begun = performance.now();
    await promisify(execFile)(process.execPath, ['-e', '0'], { signal });
    times.push(performance.now() - begun);
  }
  return median(times);
}

function startCells(starts: readonly Start[], node: number): string[] {
  const init = median(starts.map((start) => start.init));
  const first = median(starts.map((start) => start.first));
  return [
    init.toFixed(0),
    ratio(init / node),
    first.toFixed(0),
    together(starts).toFixed(0),
    median(starts.map(({ cpu }) => cpu)).toFixed(0),
  ];
}

function together(starts: readonly Start[]): number {
  return median(starts.map(({ init, first }) => init + first));
}

function peakCell(starts: readonly Start[]): string {
  return megabytes(median(starts.map(({ peak }) => peak)));
}

/** The difference in init time between `starts` and `than`, in milliseconds. */
function added(starts: readonly Start[] = [], than: readonly Start[] = []): string {
  const [more, less] = [starts, than].map((all) => (all.length === 0 ? 0 : median(all.map(({ init }) => init))));
  return ((more ?? 0) - (less ?? 0)).toFixed(0);
}

/** Parts of less than a few KB in every bundle are one row. */
async function bytesTable(): Promise<string> {
  const all = await Promise.all(
    functions().map(async ({ name, from }) => ({ name, bytes: await bytesByPackage(from) })),
  );
  const names = new Set(all.flatMap(({ bytes }) => [...bytes.keys()]));
  const most = (name: string): number => Math.max(...all.map(({ bytes }) => bytes.get(name) ?? 0));
  const rows = [...names]
    .sort((a, b) => most(b) - most(a))
    .map((name) => [name, ...all.map(({ bytes }) => kilobytes(bytes.get(name) ?? 0))]);
  return table(['', ...all.map(({ name }) => name)], rows);
}

function kilobytes(bytes: number): string {
  return (bytes / 1000).toFixed(0);
}
