/**
 * Pulls through `mirror-sync serve`, compared with docker-registry on the same layers and with plain reads of the same
 * objects.
 */
import { Agent, request } from 'undici';
import { ociLayout } from '../../lib/archive/oci-layout.ts';
import type { Digest } from '../../lib/oci/digest.ts';
import { ACCEPT_MANIFESTS } from '../../lib/oci/mediatype.ts';
import { mirrorSync as runMirrorSync } from '../../test/kit/command-line.ts';
import { functionUrlEvent } from '../../test/kit/lambda/http-events.ts';
import { LambdaFunction } from '../../test/kit/lambda/function.ts';
import { LOGIN, startRegistryFunction } from '../../test/kit/lambda/registry.ts';
import { buildBundles } from '../../test/kit/lambda/stack.ts';
import { type S3Server, startS3Server } from '../../test/kit/s3-server.ts';
import { serving } from '../../test/kit/serving.ts';
import { tempFolder } from '../../test/kit/temp.ts';
import type { Bench, Job } from '../kit/bench.ts';
import { child } from '../kit/contestants.ts';
import { startDockerRegistry } from '../kit/docker-registry.ts';
import { firstEvents } from '../kit/first-events.ts';
import { pushLayer } from '../kit/images.ts';
import { type Aim, aimsTable, table } from '../kit/report.ts';
import { startServer } from '../kit/server.ts';
import { divided, median } from '../kit/standings.ts';

/** Requests for a manifest in each turn: one after the other, and then from several connections. */
const SEQUENTIAL = 200;
const CONCURRENT = 1_000;
const CONNECTIONS = 16;

const PLAIN = { folder: 'a plain file server', s3: 'a plain presigned GET' } as const;
/** The S3 client of `serve`, in this process. */
const SDK = 'a plain GET of the S3 client';
const OURS = { folder: 'serve, from a folder', s3: 'serve, redirecting to S3' } as const;
const THEIRS = { folder: 'docker-registry, from a folder', s3: 'docker-registry, redirecting to S3' } as const;

/** The archive in S3: its bucket, and the name of its repository in requests. */
interface Archived {
  readonly bucket: string;
  readonly name: string;
}

/** A server of one image, or of plain objects. */
interface Contestant {
  readonly name: string;
  /** Reads and drops the layer. */
  readonly manifest: () => Promise<unknown>;
  /** Resolves to its size. */
  readonly layer: () => Promise<number>;
}

/** Of each turn: milliseconds per manifest, manifests per second, and bytes of the layer per second. */
interface Measured {
  readonly latency: number[];
  readonly rate: number[];
  readonly throughput: number[];
}

export const serve: Job = async (bench) => {
  const title = 'Serving an archive';
  const { tools } = bench;
  const lacks = tools.lacks(['docker-registry', 'versitygw']);
  if (lacks !== undefined) return { title, sections: [`Skipped: ${lacks}.`] };
  const server = await startS3Server();
  if ('skipped' in server) throw new Error(server.skipped);
  await using s3 = server;
  await using stack = new AsyncDisposableStack();
  const { contestants, size, bucket, name } = await contestantsOf(bench, s3, stack);
  process.stderr.write('serving\n');
  const measured = new Map<string, Measured>(
    contestants.map((each) => [each.name, { latency: [], rate: [], throughput: [] }]),
  );
  for (let turn = 0; turn < bench.repetitions; turn += 1) {
    // Another contestant is the first one in each turn.
    const ordered = [
      ...contestants.slice(turn % contestants.length),
      ...contestants.slice(0, turn % contestants.length),
    ];
    // The layers have a round of their own: requests for manifests warm the connection for one contestant only.
    for (const part of [manifestsOf, layerOf])
      for (const contestant of ordered) {
        bench.signal.throwIfAborted();
        await part(contestant, measured.get(contestant.name) as Measured, size);
      }
  }
  const starts = await coldStarts(bench, s3, { bucket, name });
  const of = (name: string, what: keyof Measured): number => median(measured.get(name)?.[what] ?? []);
  return {
    title,
    sections: [
      `One image with a layer of ${(size / 1e6).toFixed(0)} MB. All are read by the same client in this process, which follows redirects,
and S3 is versitygw. In each turn, each server is asked for the manifest ${SEQUENTIAL} times, then ${CONCURRENT} times from ${CONNECTIONS}
connections. Then each is asked for the layer. Numbers are medians of ${bench.repetitions} turns.`,
      table(
        ['', 'manifest, ms', 'manifests per second', 'layer, MB/s'],
        contestants.map(({ name }) => [
          name,
          of(name, 'latency').toFixed(2),
          of(name, 'rate').toFixed(0),
          (of(name, 'throughput') / 1e6).toFixed(0),
        ]),
      ),
      '## The functions',
      `Milliseconds from the start of a sandbox to its first answer: the webhook function passes on a push, and the registry function
answers a login and sends a manifest.`,
      table(
        ['', 'start to first answer, ms'],
        (['webhook', 'registry'] as const).map((name) => [name, median(starts[name]).toFixed(0)]),
      ),
      '## Aims',
      aimsTable(aimsOf(of, starts)),
    ],
  };
};

function aimsOf(of: (name: string, what: keyof Measured) => number, starts: Starts): Aim[] {
  const quotient = (what: keyof Measured, a: string, b: string): number | undefined =>
    divided(of(a, what), of(b, what));
  return [
    {
      what: 'manifest from a folder ÷ a plain read of its file',
      is: quotient('latency', OURS.folder, PLAIN.folder),
      wanted: { atMost: 1.5 },
    },
    {
      what: 'manifest from S3 ÷ a plain read of its object by the same client',
      is: quotient('latency', OURS.s3, SDK),
      wanted: { atMost: 1.5 },
    },
    {
      what: 'layer from a folder ÷ docker-registry',
      is: quotient('throughput', OURS.folder, THEIRS.folder),
      wanted: { atLeast: 0.9 },
    },
    {
      what: 'layer through the redirect ÷ a plain presigned GET',
      is: quotient('throughput', OURS.s3, PLAIN.s3),
      wanted: { atLeast: 0.95 },
    },
    {
      what: 'start of the registry function ÷ webhook function',
      is: divided(median(starts.registry), median(starts.webhook)),
      wanted: { atMost: 1.3 },
    },
  ];
}

async function contestantsOf(
  { tools }: Bench,
  s3: S3Server,
  stack: AsyncDisposableStack,
): Promise<Archived & { readonly contestants: readonly Contestant[]; readonly size: number }> {
  const folder = await tempFolder();
  stack.defer(() => folder.remove());
  const agent = new Agent({ connections: CONNECTIONS });
  stack.defer(() => agent.close());
  const binary = tools.path('docker-registry');
  const inFolder = stack.use(await startDockerRegistry(binary));
  const inBucket = stack.use(await startDockerRegistry(binary, { server: s3, name: await s3.bucket() }));
  const images = await pushLayer(inFolder);
  await pushLayer(inBucket);
  const bucket = await s3.bucket();
  const archives = { folder: folder.join('archive'), s3: `s3://${bucket}/archive` };
  const source = `${inFolder.host}/${images.repository}:latest`;
  for (const archive of Object.values(archives)) {
    const { code, stderr } = await runMirrorSync(['sync', source, '--to', archive, '--quiet'], s3.env);
    if (code !== 0) throw new Error(stderr);
  }
  const ours = {
    folder: stack.use(await serving(archives.folder, ['--quiet'])),
    s3: stack.use(await serving(archives.s3, ['--quiet'], s3.env)),
  };
  const [layer] = images.layers;
  if (layer === undefined) throw new Error('no layer');
  const archived = `${inFolder.host.replace(':', '_')}/${images.repository}`;
  const files = stack.use(
    await startServer((port) => child('../children/files.ts', String(port), archives.folder), '/', folder.path),
  ).host;
  const manifest = await digestOf(`http://${ours.folder.host}/v2/${archived}/manifests/latest`);
  const store = await s3.store({ bucket, prefix: 'archive' });
  const linked = (digest: Digest) => async (): Promise<number> => read(await store.link(ociLayout.blob(digest)), agent);
  const contestants = [
    registryAt(OURS.folder, ours.folder.host, archived, layer.digest, agent),
    registryAt(THEIRS.folder, inFolder.host, images.repository, layer.digest, agent),
    plainAt(files, manifest, layer.digest, agent),
    registryAt(OURS.s3, ours.s3.host, archived, layer.digest, agent),
    registryAt(THEIRS.s3, inBucket.host, images.repository, layer.digest, agent),
    { name: PLAIN.s3, manifest: linked(manifest), layer: linked(layer.digest) },
    {
      name: SDK,
      manifest: () => store.get(ociLayout.blob(manifest), { maxBytes: 1e6 }),
      layer: async () => sizeOf((await store.read(ociLayout.blob(layer.digest)))?.body ?? []),
    },
  ];
  return { contestants, size: layer.size, bucket, name: archived };
}

function registryAt(name: string, host: string, repository: string, layer: Digest, agent: Agent): Contestant {
  const base = `http://${host}/v2/${repository}`;
  return {
    name,
    manifest: () => read(`${base}/manifests/latest`, agent),
    layer: () => read(`${base}/blobs/${layer}`, agent),
  };
}

function plainAt(host: string, manifest: Digest, layer: Digest, agent: Agent): Contestant {
  const at = (digest: Digest) => (): Promise<number> => read(`http://${host}/${ociLayout.blob(digest)}`, agent);
  return { name: PLAIN.folder, manifest: at(manifest), layer: at(layer) };
}

async function digestOf(url: string): Promise<Digest> {
  const { headers, body } = await request(url, { headers: { accept: ACCEPT_MANIFESTS } });
  await body.dump();
  return String(headers['docker-content-digest']) as Digest;
}

async function manifestsOf({ manifest }: Contestant, measured: Measured): Promise<void> {
  const latencies: number[] = [];
  for (let at = 0; at < SEQUENTIAL; at += 1) latencies.push(await millisecondsOf(manifest));
  let left = CONCURRENT;
  const together = await millisecondsOf(() =>
    Promise.all(
      Array.from({ length: CONNECTIONS }, async () => {
        while (left-- > 0) await manifest();
      }),
    ),
  );
  measured.latency.push(median(latencies));
  measured.rate.push(CONCURRENT / (together / 1_000));
}

async function layerOf({ name, layer }: Contestant, { throughput }: Measured, size: number): Promise<void> {
  const ofLayer = await millisecondsOf(async () => {
    const bytes = await layer();
    if (bytes !== size) throw new Error(`${name}: expected a layer of ${size} bytes, got ${bytes}`);
  });
  throughput.push(size / (ofLayer / 1_000));
}

async function millisecondsOf(work: () => Promise<unknown>): Promise<number> {
  const begun = performance.now();
  await work();
  return performance.now() - begun;
}

/** Reads and drops a body, after a redirect if there is one. Resolves to its size. */
async function read(url: string, dispatcher: Agent): Promise<number> {
  const { statusCode, headers, body } = await request(url, { dispatcher, headers: { accept: ACCEPT_MANIFESTS } });
  if (statusCode === 307) {
    await body.dump();
    return await read(String(headers['location']), dispatcher);
  }
  if (statusCode !== 200) throw new Error(`GET ${url}: ${statusCode}`);
  return await sizeOf(body as AsyncIterable<Uint8Array>);
}

async function sizeOf(body: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): Promise<number> {
  let bytes = 0;
  for await (const chunk of body) bytes += chunk.byteLength;
  return bytes;
}

interface Starts {
  readonly webhook: number[];
  readonly registry: number[];
}

/** Milliseconds of each start, in turns. */
async function coldStarts(bench: Bench, s3: S3Server, { bucket, name }: Archived): Promise<Starts> {
  await using bundles = await buildBundles();
  await using events = await firstEvents(bundles, s3);
  const push = events.all.find((each) => each.name === 'webhook');
  if (push === undefined) throw new Error('no event for the webhook function');
  await using webhook = new LambdaFunction(push.options);
  await using registry = await startRegistryFunction({ bundles, s3, bucket, prefix: 'archive/' });
  const login = `Basic ${Buffer.from(`${LOGIN.user}:${LOGIN.password}`).toString('base64')}`;
  const pull = functionUrlEvent({ target: `/v2/${name}/manifests/latest`, headers: { authorization: login } });
  const starts: Starts = { webhook: [], registry: [] };
  for (let turn = 0; turn < bench.repetitions; turn += 1)
    for (const [lambda, event, times] of [
      [webhook, push.event, starts.webhook],
      [registry.lambda, pull, starts.registry],
    ] as const) {
      const { initMs = NaN, durationMs, outcome } = await lambda.invoke(event);
      if (!/"statusCode":20[02]/.test(JSON.stringify(outcome))) throw new Error(JSON.stringify(outcome));
      times.push(initMs + durationMs);
      await lambda.cool();
    }
  return starts;
}
