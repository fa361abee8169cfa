/** Many clients that pull from a served archive at the same time: failures, time, and the memory of the server. */
import { peakOf, pullByMany } from '../../test/kit/clients.ts';
import { mirrorSync } from '../../test/kit/command-line.ts';
import { generated } from '../../test/kit/content.ts';
import { generatedLayer, makeImage } from '../../test/kit/images.ts';
import { startRegistry } from '../../test/kit/registry.ts';
import { startS3Server } from '../../test/kit/s3-server.ts';
import { serving } from '../../test/kit/serving.ts';
import { tempFolder } from '../../test/kit/temp.ts';
import type { Job } from '../kit/bench.ts';
import { type Aim, aimsTable, megabytes, table } from '../kit/report.ts';

const CLIENTS = [1, 50, 200];
/** Two layers of incompressible bytes. */
const LAYER_BYTES = 25e6;

interface Run {
  readonly clients: number;
  readonly seconds: number;
  readonly bytes: number;
  /** The server's peak since its start. */
  readonly peakBytes: number;
}

export const serveLoad: Job = async (bench) => {
  await using folder = await tempFolder();
  const intoFolder = await pulls(folder.join('archive'), {}, bench.signal);
  const server = await startS3Server();
  const skipped = 'skipped' in server ? server.skipped : undefined;
  let throughS3: readonly Run[] = [];
  if (!('skipped' in server)) {
    await using _ = server;
    throughS3 = await pulls(`s3://${await server.bucket()}/archive`, server.env, bench.signal);
  }
  const sections = [
    'Clients in one process pull an image of 50 MB from `mirror-sync serve` at the same time, and hash each byte. An error or a wrong byte ends the job. Each row is one run.',
    '## From a folder',
    runsTable(intoFolder),
    '## From S3, through redirects',
    skipped === undefined ? runsTable(throughS3) : `Skipped: ${skipped}.`,
    '## Aims',
    aimsTable([...aims('folder', intoFolder), ...aims('S3', throughS3)]),
  ];
  return { title: 'Many clients of a served archive', sections };
};

async function pulls(archive: string, env: Readonly<Record<string, string>>, signal: AbortSignal): Promise<Run[]> {
  await using registry = await startRegistry();
  const layers = await Promise.all([1, 2].map((seed) => generatedLayer(generated({ size: LAYER_BYTES, seed }))));
  registry.push('bench/load', makeImage({ layers }), '1');
  const { code, stderr } = await mirrorSync(['sync', `${registry.host}/bench/load:1`, '--to', archive], env);
  if (code !== 0) throw new Error(stderr);
  await using served = await serving(archive, [], env);
  const name = `${registry.host.replace(':', '_')}/bench/load`;
  const runs: Run[] = [];
  for (const clients of CLIENTS) {
    signal.throwIfAborted();
    process.stderr.write(`${clients} clients of ${archive}\n`);
    const begun = performance.now();
    const bytes = await pullByMany(clients, served.host, name, '1');
    const seconds = (performance.now() - begun) / 1_000;
    runs.push({ clients, seconds, bytes, peakBytes: await peakOf(served.running.process.pid ?? 0) });
  }
  return runs;
}

function runsTable(runs: readonly Run[]): string {
  const rows = runs.map(({ clients, seconds, bytes, peakBytes }) => [
    String(clients),
    megabytes(bytes),
    seconds.toFixed(1),
    megabytes(peakBytes),
  ]);
  return table(['clients', 'sent, MB', 'wall, s', 'peak RSS of the server, MB'], rows);
}

function aims(where: string, runs: readonly Run[]): Aim[] {
  const peak = runs.length === 0 ? undefined : Math.max(...runs.map(({ peakBytes }) => peakBytes)) / 1e6;
  return [
    { what: `${where}: peak RSS with ${Math.max(...CLIENTS)} clients`, is: peak, wanted: { atMost: 450 }, unit: 'MB' },
  ];
}
