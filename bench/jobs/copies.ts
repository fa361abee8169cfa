/** Copies images into a folder, and compares tools that copy images: one large layer; ten images that share a base. */
import { type Bench, compete, type Job } from '../kit/bench.ts';
import {
  craneWithProof,
  gunzipAlone,
  GUNZIP,
  type Images,
  OURS,
  ours,
  PEERS,
  peers,
  PROVEN,
} from '../kit/contestants.ts';
import { type DockerRegistry, startDockerRegistry } from '../kit/docker-registry.ts';
import { pushLayer, pushSet } from '../kit/images.ts';
import { DESCRIPTIONS, openLink } from '../kit/link.ts';
import { type Aim, aimsTable, megabytes, type Report, standingsTable, versus } from '../kit/report.ts';
import type { Standing } from '../kit/contest.ts';
import { best, divided, result } from '../kit/standings.ts';

export const layer: Job = (bench) => copies(bench, 'One large layer into a folder', pushLayer);
export const set: Job = (bench) => copies(bench, 'Ten images that share a base, into a folder', pushSet);

async function copies(
  bench: Bench,
  title: string,
  push: (registry: DockerRegistry) => Promise<Images>,
): Promise<Report> {
  const { tools } = bench;
  const lacks = tools.lacks(['docker-registry']);
  if (lacks !== undefined) return { title, sections: [`Skipped: ${lacks}.`] };
  await using registry = await startDockerRegistry(tools.path('docker-registry'));
  const images = await push(registry);
  const sections = [describe(images)];
  const aims: Aim[] = [];
  for (const name of bench.links) {
    await using link = await openLink(name, registry.host, tools);
    const standings = await compete(bench, `${title}, ${DESCRIPTIONS[name]}`, [
      ours(link.host, images),
      ...peers(link.host, images, tools),
      craneWithProof(link.host, images, tools),
      ...(name === 'loopback' ? [gunzipAlone(images)] : []),
    ]);
    sections.push(`## ${DESCRIPTIONS[name]}`, standingsTable(standings, versus(OURS, standings)));
    aims.push(...(name === 'loopback' ? aimsOnLoopback(standings) : aimsThroughToxiproxy(standings)));
  }
  return { title, sections: [...sections, '## Aims', aimsTable(aims)] };
}

export function describe({ tags, layers }: Images): string {
  const sum = (what: 'size' | 'unpacked'): string => megabytes(layers.reduce((total, one) => total + one[what], 0));
  const layersOf = layers.length === 1 ? 'one layer' : `${layers.length} layers`;
  const imagesOf = tags.length === 1 ? 'One image' : `${tags.length} images`;
  return `${imagesOf} of ${layersOf}: ${sum('size')} MB compressed (gzip -6), ${sum('unpacked')} MB unpacked.`;
}

function aimsOnLoopback(standings: readonly Standing[]): Aim[] {
  const wall = result(standings, OURS);
  return [
    {
      what: `loopback: wall time, of ${PROVEN}`,
      is: divided(wall, result(standings, PROVEN)),
      wanted: { atMost: 0.4 },
    },
    {
      what: `loopback: throughput, of ${GUNZIP}`,
      is: divided(result(standings, GUNZIP), wall),
      wanted: { atLeast: 0.9 },
    },
    memoryAim('loopback', standings),
  ];
}

function aimsThroughToxiproxy(standings: readonly Standing[]): Aim[] {
  return [bestPeerAim('toxiproxy', standings, PEERS, 0.3), memoryAim('toxiproxy', standings)];
}

export function bestPeerAim(
  where: string,
  standings: readonly Standing[],
  names: readonly string[],
  atMost: number,
): Aim {
  const peer = best(standings, names);
  return {
    what: `${where}: wall time, of the best peer${peer === undefined ? '' : ` (${peer.name})`}`,
    is: divided(result(standings, OURS), peer?.seconds),
    wanted: { atMost },
  };
}

function memoryAim(where: string, standings: readonly Standing[]): Aim {
  const peak = result(standings, OURS, 'peakBytes');
  return { what: `${where}: peak RSS`, is: divided(peak, 1e6), wanted: { atMost: 200 }, unit: 'MB' };
}
