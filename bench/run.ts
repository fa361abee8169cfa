/**
 * Compares mirror-sync with other tools and with limits, and writes the results to `bench/results/`.
 *
 *   npm run bench                        everything
 *   npm run bench -- layer set           these jobs
 *   npm run bench -- --repetitions 3 --link loopback --only mirror-sync,crane set
 *   npm run bench -- versions --repetitions 9 --baseline ../earlier/dist
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { arch, cpus, loadavg, release, totalmem, type } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { coldStart } from './jobs/cold-start.ts';
import { layer, set } from './jobs/copies.ts';
import { cost } from './jobs/cost.ts';
import { memory } from './jobs/memory.ts';
import { s3 } from './jobs/s3.ts';
import { serve } from './jobs/serve.ts';
import { serveLoad } from './jobs/serve-load.ts';
import { tags } from './jobs/tags.ts';
import { versions } from './jobs/versions.ts';
import type { Bench, Job } from './kit/bench.ts';
import { LINKS } from './kit/link.ts';
import type { Report } from './kit/report.ts';
import { Tools } from './kit/tools.ts';

const JOBS: Readonly<Record<string, Job>> = {
  layer,
  set,
  tags,
  memory,
  s3,
  'cold-start': coldStart,
  serve,
  'serve-load': serveLoad,
  cost,
  versions,
};
const RESULTS = join(import.meta.dirname, 'results');

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    repetitions: { type: 'string', default: '5' },
    link: { type: 'string', multiple: true },
    only: { type: 'string', default: '' },
    baseline: { type: 'string' },
  },
});

const interrupted = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => interrupted.abort());

const jobs = positionals.length === 0 ? Object.keys(JOBS).filter((name) => name !== 'versions') : positionals;
const unknown = jobs.filter((name) => !(name in JOBS));
if (unknown.length > 0)
  throw new Error(`unknown job: ${unknown.join(', ')} (available: ${Object.keys(JOBS).join(', ')})`);
const tools = new Tools();
// The report of a run with some contestants is printed only.
const whole = values.link === undefined && values.only === '';
const bench = benchOf();

await mkdir(RESULTS, { recursive: true });
try {
  for (const name of jobs) await run(name);
} catch (error) {
  if (!interrupted.signal.aborted) throw error;
  console.error('stopped; temporary files are being removed');
  process.exitCode = 130;
}

async function run(name: string): Promise<void> {
  const begun = await conditions();
  const report = await JOBS[name]?.(bench);
  if (report === undefined) return;
  const text = markdown(report, begun);
  console.log(text);
  if (whole) await writeFile(join(RESULTS, `${name}.md`), text);
}

function benchOf(): Bench {
  const repetitions = Number(values.repetitions);
  if (!Number.isInteger(repetitions) || repetitions < 1)
    throw new Error(`invalid --repetitions: expected a whole number above 0, got ${values.repetitions}`);
  const odd = values.link?.find((link) => !LINKS.some((known) => known === link));
  if (odd !== undefined) throw new Error(`unknown link: ${odd} (available: ${LINKS.join(', ')})`);
  const asked = LINKS.filter((link) => values.link?.includes(link) ?? true);
  const links = asked.filter((link) => link === 'loopback' || tools.lacks(['toxiproxy-server']) === undefined);
  const only = new Set(values.only.split(',').filter((name) => name !== ''));
  return { tools, repetitions, links, only, baseline: values.baseline, signal: interrupted.signal };
}

/** The conditions of a measurement. */
async function conditions(): Promise<string[]> {
  const cores = cpus();
  const load = loadavg()[0] ?? 0;
  const lacks = tools.lacks(['toxiproxy-server']);
  return [
    `${new Date().toISOString().slice(0, 10)}; ${cores.length} cores (${cores[0]?.model.trim() ?? 'unknown'}), ` +
      `${(totalmem() / 1e9).toFixed(0)} GB, ${type()} ${release()} ${arch()}; load ${load.toFixed(1)} before it began.`,
    `Node.js ${process.versions.node}; ${(await tools.versions()) || 'no other program'}.`,
    `Medians of ${bench.repetitions}, in turns. Peak RSS is that of a contestant's largest process.`,
    ...(lacks === undefined ? [] : [`Only on loopback: ${lacks}.`]),
  ];
}

function markdown({ title, sections }: Report, begun: readonly string[]): string {
  return `${[`# ${title}`, begun.join('\n'), ...sections].join('\n\n')}\n`;
}
