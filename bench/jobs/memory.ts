/** Peak memory for layers of different sizes; it must not depend on the size. */
import { gzipSync } from 'node:zlib';
import { generated, repeated } from '../../test/kit/content.ts';
import { generatedLayer, type Image, makeImage } from '../../test/kit/images.ts';
import { startRegistry, type TestRegistry } from '../../test/kit/registry.ts';
import { startS3Server } from '../../test/kit/s3-server.ts';
import { tempFolder } from '../../test/kit/temp.ts';
import type { Bench, Job } from '../kit/bench.ts';
import { mirrorSync } from '../kit/contestants.ts';
import { measure, type Sample } from '../kit/measure.ts';
import { type Aim, aimsTable, megabytes, table } from '../kit/report.ts';
import { median } from '../kit/standings.ts';

/** Compressed sizes of the layers, in millions of bytes. */
const INTO_FOLDER = [200, 2_000];
const INTO_S3 = [100, 500, 2_000, 5_000];

/**
 * The content of one gzip member, which is compressed once and then repeated: a sequence of members is a valid gzip
 * stream.
 */
const MEMBER = { size: 8e6, seed: 1, compressible: true };

export const memory: Job = async (bench) => {
  const title = 'Peak memory and the size of a layer';
  await using registry = await startRegistry();
  const intoFolder = await peaks(bench, registry, INTO_FOLDER, async (reference) => {
    await using folder = await tempFolder();
    return await measure({ argv: mirrorSync('sync', reference, '--to', folder.join('archive')) }, bench.signal);
  });
  const lacks = bench.tools.lacks(['versitygw']);
  const intoS3 =
    lacks === undefined ? await peaks(bench, registry, INTO_S3, (reference) => toS3(bench, reference)) : [];
  const sections = [
    `A registry that makes layers up as they are read serves one that inflates to twice its size.`,
    '## Into a folder',
    peaksTable(intoFolder),
    '## Into S3',
    lacks === undefined ? peaksTable(intoS3) : `Skipped: ${lacks}.`,
    '## Aims',
    aimsTable([...aims('folder', intoFolder, 200), ...aims('S3', intoS3, 256)]),
  ];
  return { title, sections };
};

interface Peak {
  readonly size: number;
  readonly samples: readonly Sample[];
}

async function peaks(
  bench: Bench,
  registry: TestRegistry,
  sizes: readonly number[],
  run: (reference: string) => Promise<Sample>,
): Promise<Peak[]> {
  const found: Peak[] = [];
  for (const size of sizes) {
    process.stderr.write(`memory of a layer of ${size} MB\n`);
    const tag = `size-${size}`;
    registry.push('bench/memory', await madeUp(size * 1e6), tag);
    const samples: Sample[] = [];
    for (let turn = 0; turn < bench.repetitions; turn += 1)
      samples.push(await run(`${registry.host}/bench/memory:${tag}`));
    found.push({ size, samples });
  }
  return found;
}

/** An image with one layer of about this number of compressed bytes. */
export async function madeUp(bytes: number): Promise<Image> {
  const digits = Buffer.concat(await Array.fromAsync(generated(MEMBER).read(0, MEMBER.size)));
  const member = gzipSync(digits, { level: 1 });
  const times = Math.round(bytes / member.length);
  const layer = await generatedLayer(repeated(member, times), repeated(digits, times), 'gzip');
  return makeImage({ layers: [layer] });
}

/** A separate server, whose data is removed afterwards. */
async function toS3(bench: Bench, reference: string): Promise<Sample> {
  const server = await startS3Server();
  if ('skipped' in server) throw new Error(server.skipped);
  await using _ = server;
  const to = `s3://${await server.bucket()}/archive`;
  return await measure({ argv: mirrorSync('sync', reference, '--to', to), env: server.env }, bench.signal);
}

function peakOf({ samples }: Peak): number {
  return median(samples.map(({ peakBytes }) => peakBytes));
}

function peaksTable(peaks: readonly Peak[]): string {
  const rows = peaks.map((peak) => [
    String(peak.size),
    megabytes(peakOf(peak)),
    median(peak.samples.map(({ wallSeconds }) => wallSeconds)).toFixed(1),
  ]);
  return table(['layer, MB', 'peak RSS, MB', 'wall, s'], rows);
}

function aims(where: string, peaks: readonly Peak[], atMost: number): Aim[] {
  const all = peaks.map(peakOf);
  const middle = (Math.max(...all) + Math.min(...all)) / 2;
  const none = all.length === 0;
  return [
    { what: `${where}: peak RSS`, is: none ? undefined : Math.max(...all) / 1e6, wanted: { atMost }, unit: 'MB' },
    // The peak may be 10 % above that of the middle sizes.
    {
      what: `${where}: largest peak, of the middle`,
      is: none ? undefined : Math.max(...all) / middle,
      wanted: { atMost: 1.1 },
    },
  ];
}
