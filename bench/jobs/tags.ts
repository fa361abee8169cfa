/** A repository with many tags: the time per tag and the memory of a first sync, and of a sync without changes. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { tempFolder } from '../../test/kit/temp.ts';
import { type Bench, compete, type Job } from '../kit/bench.ts';
import type { Contestant, Standing } from '../kit/contest.ts';
import { mirrorSync, OURS, regsync } from '../kit/contestants.ts';
import { startDockerRegistry } from '../kit/docker-registry.ts';
import { tagged } from '../kit/images.ts';
import { DESCRIPTIONS, type Link, type LinkName, openLink } from '../kit/link.ts';
import { measure } from '../kit/measure.ts';
import { type Aim, aimsTable, type Comparison, ratio, standingsTable } from '../kit/report.ts';
import { divided, result } from '../kit/standings.ts';
import type { Tools } from '../kit/tools.ts';
import { growthWithTags } from './tag-growth.ts';

const FEW = 100;
const MANY = 1_000;
/** A first sync of a thousand tags by regsync was not finished after ten minutes. */
const REGSYNC_LIMIT_SECONDS = 60;

export const tags: Job = async (bench) => {
  const title = 'Many tags of one repository';
  const { tools } = bench;
  const lacks = tools.lacks(['docker-registry']);
  if (lacks !== undefined) return { title, sections: [`Skipped: ${lacks}.`] };
  await using registry = await startDockerRegistry(tools.path('docker-registry'));
  for (const count of [FEW, MANY]) {
    process.stderr.write(`pushing ${count} tags\n`);
    for (const [tag, image] of tagged(count)) await registry.push(repository(count), image, tag);
  }
  const sections = [`Each tag is an image of its own: a layer of 64 KB that all share, and one of 3 KB.`];
  const aims: Aim[] = [];
  for (const name of bench.links) {
    await using link = await openLink(name, registry.host, tools);
    const contestants = [
      ...[FEW, MANY].map((count) => ourFirst(link, count)),
      ...[FEW, MANY].map((count) => regsyncFirst(link, count, tools)),
    ];
    const first = await compete(bench, `First sync, ${DESCRIPTIONS[name]}`, contestants, { removeAtEnd: true });
    const unchanged = await unchangedOn(bench, link, registry.host);
    sections.push(`## First sync, ${DESCRIPTIONS[name]}`, standingsTable(first, PER_TAG));
    sections.push(`## Nothing new, ${DESCRIPTIONS[name]}`, standingsTable(unchanged, PER_TAG));
    aims.push(...unchangedAim(name, unchanged));
  }
  const growth = await growthWithTags(bench);
  sections.push(...growth.sections, '## Aims', aimsTable([...aims, ...growth.aims]));
  return { title, sections };
};

function repository(count: number): string {
  return `bench/tags-${count}`;
}

function nameOf(program: string, count: number): string {
  return `${program}, ${count} tags`;
}

function ourFirst({ host }: Link, count: number): Contestant {
  return { name: nameOf(OURS, count), prepare: (folder) => ({ argv: ourSync(host, count, folder) }) };
}

function ourSync(host: string, count: number, folder: string): string[] {
  return mirrorSync('sync', '--all-tags', `${host}/${repository(count)}`, '--to', join(folder, 'archive'));
}

function regsyncFirst({ host }: Link, count: number, tools: Tools): Contestant {
  return {
    name: nameOf('regsync', count),
    lacks: tools.lacks(['regsync']),
    prepare: async (folder) => ({
      argv: await regsyncAll(tools, host, count, folder),
      limitSeconds: REGSYNC_LIMIT_SECONDS,
    }),
    reached: async (folder) => {
      const text = await readFile(join(folder, 'layout', 'index.json'), 'utf8');
      return `${(JSON.parse(text) as { readonly manifests: unknown[] }).manifests.length} of ${count} tags`;
    },
  };
}

function regsyncAll(tools: Tools, host: string, count: number, folder: string): Promise<string[]> {
  const layout = join(folder, 'layout');
  return regsync(tools, layout, { host, source: `${host}/${repository(count)}`, target: `ocidir://${layout}` });
}

/** Both tools find all tags unchanged. regsync writes to a registry on loopback, which is faster. */
async function unchangedOn(bench: Bench, link: Link, upstream: string): Promise<Standing[]> {
  const { tools, signal } = bench;
  await using there = await tempFolder();
  const lacks = tools.lacks(['regsync']);
  for (const count of [FEW, MANY])
    await measure({ argv: ourSync(link.host, count, there.join(String(count))) }, signal);
  if (lacks === undefined) await measure({ argv: await regsyncAll(tools, upstream, FEW, there.path) }, signal);
  return await compete(bench, `Nothing new, ${DESCRIPTIONS[link.name]}`, [
    ...[FEW, MANY].map((count) => ({
      name: nameOf(OURS, count),
      prepare: () => ({ argv: ourSync(link.host, count, there.join(String(count))) }),
    })),
    {
      name: nameOf('regsync', FEW),
      lacks,
      prepare: async () => ({ argv: await regsyncAll(tools, link.host, FEW, there.path) }),
    },
  ]);
}

/** Milliseconds. */
function each(standings: readonly Standing[], program: string, count: number): number | undefined {
  return divided(result(standings, nameOf(program, count)), count / 1000);
}

const PER_TAG: Comparison = {
  head: 'a tag, ms',
  cell: (name, wall) => ratio((wall * 1000) / (name.includes(String(MANY)) ? MANY : FEW)),
};

function unchangedAim(where: LinkName, unchanged: readonly Standing[]): Aim[] {
  // On loopback the difference is mostly that of the start of the two programs.
  if (where === 'loopback') return [];
  return [
    {
      what: `${where}: time of an unchanged tag, of regsync's`,
      is: divided(each(unchanged, OURS, MANY), each(unchanged, 'regsync', FEW)),
      wanted: { atMost: 0.1 },
    },
  ];
}
