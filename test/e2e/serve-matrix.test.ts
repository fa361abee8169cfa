/** Each client copies each kind of image from a served archive with the digest of upstream, or refuses it as the matrix says. */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { defined } from '../../lib/core/defined.ts';
import { Semaphore } from '../../lib/core/semaphore.ts';
import { mirrorSync, summaryOf } from '../kit/command-line.ts';
import { LOGIN, type RegistryFunction, startRegistryFunction } from '../kit/lambda/registry.ts';
import { buildBundles } from '../kit/lambda/stack.ts';
import {
  type Client,
  CLIENTS,
  type Copied,
  COPIED,
  type Copier,
  matrixTable,
  SPARSE,
  TAGGED,
  type Target,
} from '../kit/matrix.ts';
import { describeWith } from '../kit/real.ts';
import { describeWithS3 } from '../kit/s3-suite.ts';
import { type Mirrored, mirrorImages, serving } from '../kit/serving.ts';

/** Copies at the same time. A client mostly waits, for its own process and for the server. */
const TOGETHER = 4;

let mirrored: Mirrored;
beforeAll(async () => {
  mirrored = await mirrorImages(TAGGED);
  mirrored.registry.push('team/sparse', SPARSE, '1');
  await mirrorSparse(mirrored.archive);
});
afterAll(() => mirrored[Symbol.asyncDispose]());

async function mirrorSparse(archive: string, env: Readonly<Record<string, string>> = {}): Promise<void> {
  const source = `${mirrored.registry.host}/team/sparse:1`;
  const synced = await mirrorSync(['sync', source, '--platform', 'linux/amd64', '--to', archive, '--json'], env);
  expect(summaryOf(synced)).toMatchObject({ mirrored: 1, failed: 0 });
}

/** A server, and the login that a client needs. */
type Served = Omit<Target, 'folder'> & AsyncDisposable;

/** Copies images with every client that is installed. */
function copies(
  title: string,
  serve: (client: Client) => Promise<Served>,
  chosen: (client: Client) => readonly Copied[] = () => COPIED,
): void {
  for (const client of CLIENTS)
    describeWith(client.programs, `${client.name} and ${title}`, () => {
      test('copies each kind as the matrix says', { timeout: 120_000 }, async () => {
        const images = chosen(client);
        await using served = await serve(client);
        const folder = mirrored.folder.join(`${title}-${client.name}`.replaceAll(' ', '-'));
        const { host, authorization, env } = served;
        await using copier = await client.open(defined({ host, folder, authorization, env }));
        const permits = new Semaphore(TOGETHER);
        const results = images.map(async (copied) => {
          await permits.take();
          try {
            return [copied.kind, await resultOf(copier, client, copied, folder)];
          } finally {
            permits.give();
          }
        });
        const expected = images.map(({ kind, digest }) => [kind, kind in client.refuses ? 'refused' : digest]);
        expect(await Promise.all(results)).toEqual(expected);
      });
    });
}

/** The digest of a copy, `refused` for the reason in the matrix, or another reason. */
async function resultOf(
  copier: Copier,
  { refuses }: Client,
  { kind, repository, tag }: Copied,
  folder: string,
): Promise<string | undefined> {
  try {
    const reference = `${mirrored.name.replace('/app', `/${repository}`)}:${tag}`;
    return await copier.copy(reference, `${folder}-${repository}-${tag}`);
  } catch (error) {
    return refuses[kind]?.test(String(error)) === true ? 'refused' : String(error);
  }
}

describe('an archive in a folder', () => {
  copies('a folder', () => serving(mirrored.archive));
});

/** `.ci/nightly` copies every kind through the function; `aws/registry.test.ts` copies some with each client. */
const EVERY_KIND = process.env['MIRROR_SYNC_EVERY_KIND'] === '1';

/**
 * The kinds that a client copies from S3. Two of the clients that accept a kind copy it, in turns. A client that refuses a kind
 * refuses its manifest, which the folder serves too.
 */
function fromS3(client: Client): readonly Copied[] {
  return COPIED.filter(({ kind }, index) => {
    const accepting = CLIENTS.filter(({ refuses }) => !(kind in refuses));
    const at = accepting.indexOf(client);
    return at !== -1 && (EVERY_KIND || (at + index) % accepting.length < 2);
  });
}

await describeWithS3('an archive in S3', (server) => {
  let archive: string;
  let registry: RegistryFunction;
  const stack = new AsyncDisposableStack();
  beforeAll(async () => {
    const bucket = await server.bucket();
    archive = `s3://${bucket}/archive`;
    const from = `${mirrored.registry.host}/team/app`;
    const synced = await mirrorSync(['sync', from, '--all-tags', '--to', archive, '--json'], server.env);
    expect(summaryOf(synced)).toMatchObject({ failed: 0 });
    await mirrorSparse(archive, server.env);
    if (!EVERY_KIND) return;
    const bundles = await buildBundles();
    stack.defer(() => bundles.remove());
    registry = stack.use(await startRegistryFunction({ bundles, s3: server, bucket, prefix: 'archive/' }));
  });
  afterAll(() => stack.disposeAsync());

  /** The bundled function behind a load balancer; each client logs in with its own file. */
  async function throughFunction({ name }: Client): Promise<Served> {
    const { host } = registry;
    const login = mirrored.folder.join(`login-${name}`);
    await mkdir(login);
    const auth = Buffer.from(`${LOGIN.user}:${LOGIN.password}`).toString('base64');
    await writeFile(`${login}/config.json`, JSON.stringify({ auths: { [host]: { auth } } }));
    return {
      host,
      authorization: `Basic ${auth}`,
      env: { DOCKER_CONFIG: login, REGISTRY_AUTH_FILE: `${login}/config.json` },
      [Symbol.asyncDispose]: () => Promise.resolve(),
    };
  }

  if (EVERY_KIND) copies('the registry function', throughFunction);
  copies('S3', () => serving(archive, [], server.env), fromS3);
});

test('the documentation has the matrix', async () => {
  const page = await readFile(join(import.meta.dirname, '../../docs/serve.md'), 'utf8');
  const cells = (text: string): string => text.replaceAll(/ +|-{3,}/g, ' ');
  expect(cells(page)).toContain(cells(matrixTable()));
});
