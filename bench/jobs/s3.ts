/** Copies images into S3, and compares with tools that write to S3 through a registry, and with the raw limit. */
import { join } from 'node:path';
import { startS3Server, type S3Server } from '../../test/kit/s3-server.ts';
import { type Bench, compete, type Job } from '../kit/bench.ts';
import type { Contestant, Standing } from '../kit/contest.ts';
import { child, type Images, mirrorSync, OURS, PEERS, peers, references, regsync } from '../kit/contestants.ts';
import { type DockerRegistry, startDockerRegistry } from '../kit/docker-registry.ts';
import { pushLayer, pushSet } from '../kit/images.ts';
import { DESCRIPTIONS, type LinkName, openLink } from '../kit/link.ts';
import type { Command } from '../kit/measure.ts';
import { type Aim, aimsTable, ratio, standingsTable, versus } from '../kit/report.ts';
import { divided, result } from '../kit/standings.ts';
import type { Tools } from '../kit/tools.ts';
import { bestPeerAim, describe } from './copies.ts';

const RAW = 'random bytes';
const THROUGH_REGISTRY = ['regsync', 'skopeo sync'];

/** The number of parts that lib/app/local-run.ts sends to S3 concurrently: its buffer size divided by the part size. */
const PARTS_AT_ONCE = 6;

export const s3: Job = async (bench) => {
  const title = 'Into S3';
  const { tools } = bench;
  const lacks = tools.lacks(['docker-registry', 'versitygw']);
  if (lacks !== undefined) return { title, sections: [`Skipped: ${lacks}.`] };
  await using registry = await startDockerRegistry(tools.path('docker-registry'));
  const sections = [
    `S3 is versitygw on its posix backend, a new one each time. The peers write to a docker-registry whose storage it is; what
*${RAW}* uploads is as large as the blobs, in the same parts, through the same client, and nothing is read or hashed
for it. CPU and memory are of the contestant alone, without the servers.`,
  ];
  const aims: Aim[] = [];
  for (const [what, push] of [
    ['The set', pushSet],
    ['The layer', pushLayer],
  ] as const) {
    const images = await push(registry);
    for (const name of bench.links) {
      const heading = `${what}, ${DESCRIPTIONS[name]}`;
      const standings = await compare(bench, heading, name, registry, images);
      sections.push(`## ${heading}`, describe(images), standingsTable(standings, versus(OURS, standings)));
      if (name === 'loopback') sections.push(ofRaw(standings));
      aims.push(...aimsOf(`${what.toLowerCase()}, ${name}`, name, standings));
    }
  }
  return { title, sections: [...sections, '## Aims', aimsTable(aims)] };
};

async function compare(
  bench: Bench,
  heading: string,
  name: LinkName,
  registry: DockerRegistry,
  images: Images,
): Promise<Standing[]> {
  const { tools } = bench;
  await using link = await openLink(name, registry.host, tools);
  // Through toxiproxy the other tools write to a folder only.
  const others =
    name === 'loopback'
      ? [rawUpload(images), ...throughRegistry(link.host, images, tools)]
      : peers(link.host, images, tools).map((peer) => ({ ...peer, name: intoFolder(peer.name) }));
  return await compete(bench, heading, [ours(link.host, images), ...others]);
}

function intoFolder(name: string): string {
  return `${name}, into a folder`;
}

function ours(host: string, images: Images): Contestant {
  return {
    name: OURS,
    prepare: () =>
      withS3(async (server) => {
        const to = `s3://${await server.bucket()}/archive`;
        return { argv: mirrorSync('sync', ...references(host, images), '--to', to), env: server.env };
      }),
  };
}

function rawUpload({ layers }: Images): Contestant {
  const sizes = layers.map(({ size }) => String(size));
  return {
    name: RAW,
    prepare: () =>
      withS3(async (server) => ({
        argv: child('../children/upload.ts', await server.bucket(), String(PARTS_AT_ONCE), ...sizes),
        env: server.env,
      })),
  };
}

function throughRegistry(host: string, { repository }: Images, tools: Tools): Contestant[] {
  const source = `${host}/${repository}`;
  return [
    {
      name: 'regsync',
      lacks: tools.lacks(['regsync']),
      prepare: (folder) =>
        withRegistry(tools, async (targetHost) => {
          const copy = { host, source, target: `${targetHost}/${repository}`, targetHost };
          return { argv: await regsync(tools, join(folder, 'regsync'), copy) };
        }),
    },
    {
      name: 'skopeo sync',
      lacks: tools.lacks(['skopeo']),
      prepare: () =>
        withRegistry(tools, (targetHost) => {
          const sync = [
            'sync',
            '--src',
            'docker',
            '--dest',
            'docker',
            '--src-tls-verify=false',
            '--dest-tls-verify=false',
          ];
          const argv = [tools.path('skopeo'), '--insecure-policy', ...sync, source, `${targetHost}/bench`];
          return Promise.resolve({ argv });
        }),
    },
  ];
}

/** A separate server, whose data is removed with it. */
async function withS3(
  prepare: (server: S3Server, stack: AsyncDisposableStack) => Promise<Command>,
): Promise<Command & AsyncDisposable> {
  await using stack = new AsyncDisposableStack();
  const server = await startS3Server();
  if ('skipped' in server) throw new Error(server.skipped);
  stack.use(server);
  const command = await prepare(server, stack);
  const kept = stack.move();
  return { ...command, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}

function withRegistry(tools: Tools, prepare: (host: string) => Promise<Command>): Promise<Command & AsyncDisposable> {
  return withS3(async (server, stack) => {
    const bucket = { server, name: await server.bucket() };
    const registry = stack.use(await startDockerRegistry(tools.path('docker-registry'), bucket));
    return prepare(registry.host);
  });
}

function ofRaw(standings: readonly Standing[]): string {
  return `Of the raw limit, ${OURS} reaches ${ratio(divided(result(standings, RAW), result(standings, OURS)))}.`;
}

function aimsOf(where: string, name: LinkName, standings: readonly Standing[]): Aim[] {
  const peak = divided(result(standings, OURS, 'peakBytes'), 1e6);
  const memory: Aim = { what: `${where}: peak RSS`, is: peak, wanted: { atMost: 256 }, unit: 'MB' };
  return name === 'loopback'
    ? [bestPeerAim(where, standings, THROUGH_REGISTRY, 0.15), memory]
    : [bestPeerAim(where, standings, PEERS.map(intoFolder), 0.3), memory];
}
