/**
 * Signatures and other referrers that stock clients have pushed to real registries: one with the referrers API (olareg), and one with
 * only the tag schema (Debian's docker-registry). Stock clients find the same in the served archive as in the source.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { symlink, writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { mirrorSync } from '../kit/command-line.ts';
import { makeArtifact, makeImage, makeIndex, makeLayer, type Pushable } from '../kit/images.ts';
import { describeWith, type Distribution, isInstalled, pushTo, run, startDistribution } from '../kit/real.ts';
import { serving } from '../kit/serving.ts';
import { tempFolder } from '../kit/temp.ts';

const PLATFORMS = ['amd64', 'arm64'].map((architecture) => ({ os: 'linux', architecture }));
const CHILDREN = PLATFORMS.map((platform, seed) => makeImage({ layers: [makeLayer({ seed })], platform }));
/** The attestation manifest that BuildKit puts into an index. */
const BUILDKIT = makeArtifact({
  platform: { os: 'unknown', architecture: 'unknown' },
  annotations: {
    'vnd.docker.reference.type': 'attestation-manifest',
    'vnd.docker.reference.digest': CHILDREN[0]!.digest,
  },
});
const INDEX = makeIndex([...CHILDREN, BUILDKIT]);
const SINGLE = makeImage({ layers: [makeLayer({ seed: 7 })] });
const MISSING = makeImage({ layers: [] });
const TAGS = ['index', 'single', 'lonely'];
const LONELY = makeArtifact({ subject: MISSING, artifactType: 'application/spdx+json' });

/** `.ci/run` does not install it. */
const HAS_COSIGN = isInstalled('cosign');
const COSIGN = { COSIGN_PASSWORD: '' };
const WITHOUT_LOG = ['--tlog-upload=false', '--use-signing-config=false'];

interface Source {
  /** The repository in the source and in the served archive. */
  readonly source: string;
  readonly mirror: string;
  /** SBOMs of the children of the index, and a signature of one. */
  readonly attached: readonly string[];
}

const cleanup = new AsyncDisposableStack();
let sources: Readonly<Record<'api' | 'tags', Source>>;
let archive: string;
let keys: (name: string) => string;

async function startOlareg(): Promise<Distribution> {
  const child = spawn('mirror-sync-olareg', { stdio: ['ignore', 'pipe', 'inherit'] });
  const closed = once(child, 'close');
  const [host] = (await once(createInterface(child.stdout), 'line')) as [string];
  return {
    host,
    [Symbol.asyncDispose]: async () => {
      child.kill();
      await closed;
    },
  };
}

/** Pushes the manifests of an index by their digests, and the others under a tag. */
async function pushImages(host: string): Promise<void> {
  const push = (image: Pushable, tag: string): Promise<unknown> => pushTo(host, 'team/app', image, tag);
  await Promise.all([...CHILDREN, BUILDKIT].map((each) => push(each, each.digest)));
  await Promise.all([push(INDEX, 'index'), push(SINGLE, 'single'), push(LONELY, 'lonely')]);
}

/** An SBOM on each child, one of them signed, a signature on the index, and four artifacts and one on the single image. */
async function attachAll(name: string, folder: string): Promise<readonly string[]> {
  const attach = (digest: string, type: string): Promise<string> =>
    run('oras', [
      ...['attach', '--plain-http', '--format', 'go-template={{.digest}}', '--disable-path-validation'],
      ...['--artifact-type', type, `${name}@${digest}`, `${folder}/content:text/plain`],
    ]);
  const sbom = await attach(CHILDREN[0]!.digest, 'application/spdx+json');
  const attached = [sbom, await attach(CHILDREN[1]!.digest, 'application/spdx+json')];
  attached.push(await attach(sbom, 'application/x.signature-of-an-sbom'));
  // One after the other: a client of a registry without the API changes a list that it has read.
  for (const at of [1, 2, 3, 4]) {
    const type = `application/x.report.v${at}`;
    const args = [
      'artifact',
      'put',
      '--artifact-type',
      type,
      '--subject',
      `${name}:single`,
      '--file',
      `${folder}/content`,
    ];
    await run('regctl', [...plainly(name), ...args]);
  }
  if (!HAS_COSIGN) return attached;
  const sign = ['sign', '--yes', '--key', keys('good.key'), ...WITHOUT_LOG, '--allow-http-registry'];
  await run('cosign', [...sign, `${name}@${INDEX.digest}`], COSIGN);
  // The older form: a tag of cosign.
  await run('cosign', [...sign, '--new-bundle-format=false', `${name}@${SINGLE.digest}`], COSIGN);
  return attached;
}

/** The options of regctl for a registry without TLS. */
function plainly(name: string): readonly string[] {
  return ['--host', `reg=${name.split('/')[0] ?? ''},tls=disabled`];
}

/** The output of `cosign verify`, or its error, without the name of the image. */
async function verified(image: string, key: string): Promise<string> {
  const options = ['--insecure-ignore-tlog', '--allow-http-registry'];
  const text = await run('cosign', ['verify', '--key', keys(key), ...options, image]).catch(
    (error: unknown) => /^Error: .*/m.exec((error as Error).message)?.[0] ?? '',
  );
  return text.replaceAll(image, 'image');
}

function oras(name: string): Promise<string> {
  return run('oras', ['discover', '--plain-http', '--format', 'tree', name]);
}

/** The digests of a tree and their indentation, without the host and in one order per level. */
function treeOf(text: string): readonly string[] {
  return text
    .split('\n')
    .flatMap((line) => /^(.*?)(sha256:[0-9a-f]{64})/.exec(line)?.slice(1).join('') ?? [])
    .map((line) => line.replaceAll(/[├└│─]/g, ' ').replace(/\S+@/, ''))
    .sort();
}

describeWith(
  ['docker-registry', 'mirror-sync-olareg', 'crane', 'oras', 'regctl'],
  'referrers in real registries',
  () => {
    beforeAll(async () => {
      const folder = cleanup.use(await tempFolder());
      archive = folder.join('archive');
      keys = (name) => folder.join(name);
      await writeFile(folder.join('content'), 'content');
      const generate = (name: string): Promise<string> =>
        run('cosign', ['generate-key-pair', '--output-key-prefix', folder.join(name)], COSIGN);
      await Promise.all(HAS_COSIGN ? ['good', 'wrong'].map(generate) : []);
      const registries = [
        cleanup.use(await startOlareg()),
        cleanup.use(await startDistribution(folder.join('registry'))),
      ];
      const names = registries.map(({ host }) => `${host}/team/app`);
      const [copied, pushed] = names;
      await pushImages(registries[1]!.host);
      await Promise.all(TAGS.map((tag) => run('crane', ['copy', `${pushed!}:${tag}`, `${copied!}:${tag}`])));
      const attached = await Promise.all(names.map((name) => attachAll(name, folder.path)));
      const synced = await mirrorSync(['sync', ...names, '--all-tags', '--to', archive]);
      expect(synced).toMatchObject({ code: 0, stderr: '' });
      const { host } = cleanup.use(await serving(archive));
      const [api, tags] = names.map((source, at) => ({
        source,
        mirror: `${host}/${source.replace(':', '_')}`,
        attached: attached[at] ?? [],
      }));
      sources = { api: api!, tags: tags! };
    });

    afterAll(() => cleanup.disposeAsync());

    describe.each(['api', 'tags'] as const)('with %s', (kind) => {
      const both = (): readonly string[] => [sources[kind].source, sources[kind].mirror];

      test('are the same tree for stock clients in the source and in the served archive', async () => {
        const regctl = (name: string): Promise<string> =>
          run('regctl', [...plainly(name), 'artifact', 'tree', '--digest-tags', name]);
        const children = [...CHILDREN, BUILDKIT].map(({ digest }) => `@${digest}`);
        const same = [':index', ':single', ':lonely', ...children].flatMap((subject) =>
          [oras, regctl].map(async (discover) => {
            const [upstream = '', archived = ''] = await Promise.all(
              both().map((name) => discover(`${name}${subject}`)),
            );
            expect(treeOf(archived)).toEqual(treeOf(upstream));
          }),
        );
        await Promise.all(same);
        const whole = await regctl(`${sources[kind].mirror}:index`);
        for (const digest of sources[kind].attached) expect(whole).toContain(digest);
      });

      test('are found by stock clients in a folder with the link that the README describes', async () => {
        const layout = join(archive, 'repositories', sources[kind].source.replace(':', '_'));
        await symlink(relative(layout, join(archive, 'blobs')), join(layout, 'blobs'));
        const folder = await run('oras', ['discover', '--oci-layout', '--format', 'tree', `${layout}:single`]);
        expect(treeOf(folder)).toEqual(treeOf(await oras(`${sources[kind].source}:single`)));
      });

      // olareg splits a list into pages, and docker-registry has no list.
      test('are listed for a subject that is missing', async () => {
        const list = (name: string, digest: string): Promise<Response> =>
          fetch(`http://${name.replace('/', '/v2/')}/referrers/${digest}`);
        const { source, mirror } = sources[kind];
        expect(await (await list(mirror, MISSING.digest)).json()).toMatchObject({
          manifests: [{ digest: LONELY.digest }],
        });
        const upstream = await list(source, SINGLE.digest);
        if (kind === 'tags') expect(upstream.status).toBe(404);
        else expect(upstream.headers.get('link')).toMatch(/rel="?next/);
      });

      // Skipped if cosign is not installed: building it takes minutes.
      test.skipIf(!HAS_COSIGN)('are accepted by cosign in both with the right key only', async () => {
        for (const [tag, { digest }] of [
          ['index', INDEX],
          ['single', SINGLE],
        ] as const) {
          const verify = (key: string): Promise<readonly string[]> =>
            Promise.all(both().map((name) => verified(`${name}:${tag}`, key)));
          const [upstream = '', archived] = await verify('good.pub');
          expect(JSON.parse(upstream)).toMatchObject([{ critical: { image: { 'docker-manifest-digest': digest } } }]);
          expect(archived).toBe(upstream);
          const [refused, refusedToo] = await verify('wrong.pub');
          expect(refused).toMatch(/no matching (?:attestations|signatures)/);
          expect(refusedToo).toBe(refused);
        }
      });
    });
  },
);
