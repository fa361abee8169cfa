/**
 * Compares two builds of mirror-sync in turns: the build of this checkout, and that in `--baseline`, the `dist` folder
 * of another checkout.
 */
import { writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { Sandbox } from '../../test/kit/lambda/sandbox.ts';
import { buildBundles } from '../../test/kit/lambda/stack.ts';
import { startRegistry } from '../../test/kit/registry.ts';
import { startS3Server } from '../../test/kit/s3-server.ts';
import { tempFolder } from '../../test/kit/temp.ts';
import { type Bench, compete, type Job } from '../kit/bench.ts';
import type { Contestant, Standing } from '../kit/contest.ts';
import { type Images, references } from '../kit/contestants.ts';
import { startDockerRegistry } from '../kit/docker-registry.ts';
import { type FirstEvent, firstEvents } from '../kit/first-events.ts';
import { manyLayers, pushLayer, pushSet, tagged } from '../kit/images.ts';
import { DESCRIPTIONS, type LinkName, openLink } from '../kit/link.ts';
import { measure } from '../kit/measure.ts';
import { type Aim, aimsTable, megabytes, ratio, table } from '../kit/report.ts';
import { divided, median, medianOf } from '../kit/standings.ts';
import { madeUp } from './memory.ts';

const BEFORE = 'before';
const AFTER = 'after';
/** The factor by which a figure may be worse. */
const AT_MOST = 1.05;
const TAGS: Readonly<Record<LinkName, readonly number[]>> = { loopback: [1_000, 4_000], toxiproxy: [1_000] };
/** Millions of bytes. */
const LARGE_LAYER = 1_000;

interface Build {
  readonly name: typeof BEFORE | typeof AFTER;
  readonly dist: string;
}

interface Round {
  readonly what: string;
  readonly standings: readonly Standing[];
}

export const versions: Job = async (bench) => {
  const title = 'This build and an earlier one';
  if (bench.baseline === undefined) return { title, sections: ['Skipped: --baseline DIST names no earlier build.'] };
  const lacks = bench.tools.lacks(['docker-registry', 'versitygw']);
  if (lacks !== undefined) return { title, sections: [`Skipped: ${lacks}.`] };
  const builds: Build[] = [
    { name: BEFORE, dist: resolve(bench.baseline) },
    { name: AFTER, dist: resolve(import.meta.dirname, '../../dist') },
  ];
  const rounds = [
    ...(await images(bench, builds)),
    ...(await manyTags(bench, builds)),
    ...(await generatedLayers(bench, builds)),
  ];
  const starts = await coldStarts(bench, builds);
  const sections = [
    `Each figure is the median of *after*, divided by that of *before*. A figure of up to ${AT_MOST} meets the aim.`,
    table(
      ['', 'wall, s, before', 'after', 'ratio', 'CPU, ratio', 'peak RSS, MB, before', 'after', 'ratio'],
      rounds.map(cells),
    ),
    '## Cold starts: the start of the process to its first question for an event',
    table(
      ['', 'init, ms, before', 'after', 'ratio'],
      starts.map(({ name, before, after }) => [name, before.toFixed(0), after.toFixed(0), ratio(after / before)]),
    ),
    '## Aims',
    aimsTable([
      ...rounds.flatMap(aims),
      ...starts.map(({ name, before, after }) => aim(`${name}: init`, after / before)),
    ]),
  ];
  return { title, sections };
};

function sync({ dist }: Build, ...args: string[]): [string, ...string[]] {
  return [process.execPath, join(dist, 'cli/mirror-sync.js'), 'sync', ...args];
}

/** A large layer, and images that share a base: into a folder on every link, and into S3 on loopback. */
async function images(bench: Bench, builds: readonly Build[]): Promise<Round[]> {
  const rounds: Round[] = [];
  await using registry = await startDockerRegistry(bench.tools.path('docker-registry'));
  for (const [what, push] of [
    ['a layer', pushLayer],
    ['ten images', pushSet],
  ] as const) {
    const pushed = await push(registry);
    for (const name of bench.links) {
      await using link = await openLink(name, registry.host, bench.tools);
      const heading = `${what} into a folder, ${DESCRIPTIONS[name]}`;
      rounds.push(await round(bench, heading, builds, intoFolder(references(link.host, pushed))));
    }
    rounds.push(await round(bench, `${what} into S3, loopback`, builds, intoS3(registry.host, pushed)));
  }
  return rounds;
}

type Prepare = (build: Build) => Contestant['prepare'];

function intoFolder(args: readonly string[]): Prepare {
  return (build) => (folder) => ({ argv: sync(build, ...args, '--to', join(folder, 'archive')) });
}

/** Both builds send the same requests: an older build does not know this setting, and never searches for referrers. */
function withoutReferrers(repository: string): Prepare {
  return (build) => async (folder) => {
    const policy = build.name === AFTER ? ', policy: { referrers: none }' : '';
    const file = join(folder, 'mirror.yaml');
    await writeFile(file, `version: 1\nmirrors:\n  - { source: "${repository}", tags: { include: ["*"] }${policy} }\n`);
    return { argv: sync(build, '--config', file, '--to', join(folder, 'archive')) };
  };
}

/** A separate server for each run, whose data is removed with it. */
function intoS3(host: string, pushed: Images): Prepare {
  return (build) => async () => {
    const server = await startS3Server();
    if ('skipped' in server) throw new Error(server.skipped);
    const to = `s3://${await server.bucket()}/archive`;
    const argv = sync(build, ...references(host, pushed), '--to', to);
    return { argv, env: server.env, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() };
  };
}

/** First syncs of a repository, with and without a search for referrers, and a sync without changes. */
async function manyTags(bench: Bench, builds: readonly Build[]): Promise<Round[]> {
  const rounds: Round[] = [];
  await using registry = await startRegistry();
  for (const name of bench.links)
    for (const count of TAGS[name]) {
      for (const [tag, image] of tagged(count)) registry.push(`bench/tags-${count}`, image, tag);
      await using link = await openLink(name, registry.host, bench.tools);
      const repository = `${link.host}/bench/tags-${count}`;
      const args = ['--all-tags', repository];
      const first = `${count} tags for the first time, ${DESCRIPTIONS[name]}`;
      rounds.push(await round(bench, first, builds, intoFolder(args), { removeAtEnd: true }));
      const alike = `${count} tags for the first time, without referrers, ${DESCRIPTIONS[name]}`;
      rounds.push(await round(bench, alike, builds, withoutReferrers(repository), { removeAtEnd: true }));
      await using there = await tempFolder();
      const again: Prepare = (build) => () => ({ argv: sync(build, ...args, '--to', there.join(build.name)) });
      for (const build of builds) await measure(await again(build)(there.path), bench.signal);
      rounds.push(await round(bench, `${count} unchanged tags, ${DESCRIPTIONS[name]}`, builds, again));
    }
  return rounds;
}

/** The registry generates the large layer, and has the small ones in memory. */
async function generatedLayers(bench: Bench, builds: readonly Build[]): Promise<Round[]> {
  await using registry = await startRegistry();
  registry.push('bench/large', await madeUp(LARGE_LAYER * 1e6), 'large');
  for (const [tag, image] of manyLayers()) registry.push('bench/small', image, tag);
  const [one, many] = [[`${registry.host}/bench/large:large`], ['--all-tags', `${registry.host}/bench/small`]];
  return [
    await round(bench, `a layer of ${LARGE_LAYER} MB into a folder`, builds, intoFolder(one)),
    await round(bench, 'five images of 40 layers of 2 MB into a folder', builds, intoFolder(many)),
  ];
}

async function round(
  bench: Bench,
  what: string,
  builds: readonly Build[],
  prepare: Prepare,
  options: Parameters<typeof compete>[3] = {},
): Promise<Round> {
  const contestants = builds.map((build) => ({ name: build.name, prepare: prepare(build) }));
  return { what, standings: await compete(bench, what, contestants, options) };
}

interface Starts {
  readonly name: string;
  /** Milliseconds. */
  readonly before: number;
  readonly after: number;
}

async function coldStarts(bench: Bench, builds: readonly Build[]): Promise<Starts[]> {
  await using bundles = await buildBundles();
  const server = await startS3Server();
  if ('skipped' in server) throw new Error(server.skipped);
  await using s3 = server;
  await using events = await firstEvents(bundles, s3);
  process.stderr.write('cold starts\n');
  const times = new Map(events.all.map(({ name }) => [name, { before: [] as number[], after: [] as number[] }]));
  for (let turn = 0; turn < bench.repetitions; turn += 1)
    for (const event of events.all)
      for (const build of turn % 2 === 0 ? builds : builds.toReversed()) {
        bench.signal.throwIfAborted();
        times.get(event.name)?.[build.name].push(await initOf(event, build));
      }
  return [...times].map(([name, { before, after }]) => ({ name, before: median(before), after: median(after) }));
}

/** The answer does not matter here: a build may refuse the other's messages. */
async function initOf({ name, options, event }: FirstEvent, { dist }: Build): Promise<number> {
  const bundle = join(dist, 'functions', name, 'index.mjs');
  const sandbox = await Sandbox.start({ ...options, bundle, onLog: () => undefined });
  try {
    const { initMs = NaN } = await sandbox.invoke(event);
    return initMs;
  } finally {
    await sandbox.close();
  }
}

type Measured = Parameters<typeof medianOf>[1];

function both({ standings }: Round, what: Measured): [before: number, after: number] {
  const of = (name: string): number => medianOf(standings.find((one) => one.name === name)?.samples ?? [], what);
  return [of(BEFORE), of(AFTER)];
}

function quotient(round: Round, what: Measured): number | undefined {
  const [before, after] = both(round, what);
  return divided(after, before);
}

function cells(round: Round): string[] {
  const wall = both(round, 'wallSeconds').map((value) => value.toFixed(2));
  const peak = both(round, 'peakBytes').map(megabytes);
  return [
    round.what,
    ...wall,
    ratio(quotient(round, 'wallSeconds')),
    ratio(quotient(round, 'cpuSeconds')),
    ...peak,
    ratio(quotient(round, 'peakBytes')),
  ];
}

function aims(round: Round): Aim[] {
  return [
    aim(`${round.what}: wall time`, quotient(round, 'wallSeconds')),
    aim(`${round.what}: peak RSS`, quotient(round, 'peakBytes')),
  ];
}

function aim(what: string, is: number | undefined): Aim {
  return { what, is, wanted: { atMost: AT_MOST } };
}
