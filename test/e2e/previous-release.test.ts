/** An archive of the last release without policies and referrers (test/documents/release-f39c581), under this release. */
import { cp, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Archive } from '../../lib/archive/archive.ts';
import { ociLayout } from '../../lib/archive/oci-layout.ts';
import type { Digest } from '../../lib/oci/digest.ts';
import { NO_POLICY } from '../../lib/policy/policy.ts';
import { changeMessage, finalizeMessage } from '../../lib/queue/outgoing.ts';
import { serialise } from '../../lib/queue/parse.ts';
import { FolderStore } from '../../lib/store/folder/store.ts';
import { verifyArchive } from '../../lib/upkeep/verify.ts';
import { mirrorSync, summaryOf } from '../kit/command-line.ts';
import { makeArtifact, type Pushable, type RawDescriptor } from '../kit/images.ts';
import { startRegistry, type TestRegistry } from '../kit/registry.ts';
import { serving } from '../kit/serving.ts';
import { tempFolder, type TempFolder } from '../kit/temp.ts';

const RELEASE = join(import.meta.dirname, '../documents/release-f39c581');
const REPOSITORY = 'registry.example/team/app';
const INDEX = `repositories/${REPOSITORY}/index.json`;
const SIGNAL = new AbortController().signal;

interface Entry extends RawDescriptor {
  readonly annotations: Readonly<Record<string, string>>;
}

interface Index {
  readonly annotations: Readonly<Record<string, string>>;
  readonly manifests: readonly Entry[];
}

let folder: TempFolder;
let archive: string;
let registry: TestRegistry;
/** The index under the tags `v1` and `latest`, and its children. */
let image: Pushable;

beforeEach(async () => {
  [folder, registry] = await Promise.all([tempFolder(), startRegistry()]);
  archive = folder.join('archive');
  await cp(join(RELEASE, 'archive'), archive, { recursive: true });
  const [entry] = (await indexOf()).manifests;
  image = await pushableOf(entry!);
  for (const tag of ['v1', 'latest']) registry.push('team/app', image, tag);
});

afterEach(async () => {
  await registry.close();
  await folder.remove();
});

async function indexOf(): Promise<Index> {
  return JSON.parse(await readFile(join(archive, INDEX), 'utf8')) as Index;
}

function blobOf(digest: Digest): Promise<Buffer> {
  return readFile(join(archive, 'blobs', digest.replace(':', '/')));
}

/** An image in the archive, as upstream has it. */
async function pushableOf(descriptor: RawDescriptor): Promise<Pushable> {
  const { digest, mediaType, size } = descriptor;
  const manifest = await blobOf(digest);
  const parsed = JSON.parse(manifest.toString()) as {
    readonly manifests?: readonly RawDescriptor[];
    readonly config?: RawDescriptor;
    readonly layers?: readonly RawDescriptor[];
  };
  const children = await Promise.all((parsed.manifests ?? []).map(pushableOf));
  const below = [...(parsed.config === undefined ? [] : [parsed.config]), ...(parsed.layers ?? [])];
  const blobs = new Map(await Promise.all(below.map(async (one) => [one.digest, await blobOf(one.digest)] as const)));
  return {
    manifest,
    mediaType,
    digest,
    descriptor: { digest, mediaType, size },
    blobs,
    generated: new Map(),
    children,
  };
}

async function sync(policy = ''): Promise<ReturnType<typeof summaryOf>> {
  const config = folder.join('mirror.yaml');
  const mirror = `{ source: ${registry.host}/team/app, tags: all, destination: ${REPOSITORY}${policy} }`;
  await writeFile(config, `version: 1\nmirrors:\n  - ${mirror}\n`);
  return summaryOf(await mirrorSync(['sync', '--config', config, '--to', archive, '--json']));
}

async function problemsIn(): Promise<readonly unknown[]> {
  await using store = new FolderStore(archive);
  return (await verifyArchive(new Archive(store, ociLayout), { signal: SIGNAL, concurrency: 1 })).problems;
}

describe('an archive of the previous release', () => {
  test('is listed, verified and served', async () => {
    const { stdout } = await mirrorSync(['ls', archive]);
    for (const tag of ['v1', 'latest']) expect(stdout).toMatch(new RegExp(`\\b${tag}\\b.*${image.digest}`));
    expect(await mirrorSync(['verify', archive])).toMatchObject({ code: 0 });
    await using server = await serving(archive);
    const digests = [image, ...image.children].map(({ digest }) => digest);
    for (const reference of ['v1', 'latest', ...digests]) {
      const response = await fetch(`http://${server.host}/v2/${REPOSITORY}/manifests/${reference}`);
      expect([reference, response.status]).toEqual([reference, 200]);
    }
    await server.stop();
  });

  test('gains its referrers in the first run, and keeps its format without a policy', async () => {
    const referrers = [image, image.children[1]!].map((subject) => makeArtifact({ subject }));
    for (const referrer of referrers) registry.push('team/app', referrer);
    expect(await sync()).toMatchObject({ unchanged: 2, mirrored: 0, failed: 0, referrers: 2 });
    const { annotations, manifests } = await indexOf();
    expect(annotations['dev.mirror-sync.format']).toBe('1.1');
    const subjects = manifests.flatMap((each) => each.annotations['dev.mirror-sync.subject'] ?? []);
    expect(subjects.toSorted()).toEqual([image.digest, image.children[1]!.digest].toSorted());
    registry.forgetRequests();
    expect(await sync()).toMatchObject({ unchanged: 2, failed: 0, referrers: 0 });
    const requests = registry.requests.map(({ method, kind }) => `${method} ${kind}`);
    expect(requests.toSorted()).toEqual(['GET tags', 'HEAD manifest', 'HEAD manifest']);
    expect(await problemsIn()).toEqual([]);
  });

  test('keeps its visible tags under a new policy, and its finalizer cannot write the index any more', async () => {
    const before = await indexOf();
    const namesIn = ({ manifests }: Index) =>
      manifests.map(({ digest, annotations }) => [digest, annotations['org.opencontainers.image.ref.name']]);
    expect(await sync(', policy: { minimumAge: 30d, moved: keep, referrers: none }')).toMatchObject({ unchanged: 2 });
    const after = await indexOf();
    expect(namesIn(after)).toEqual(namesIn(before));
    expect(after.annotations['dev.mirror-sync.format']).toBe('1.2');

    const former = after.manifests.find(({ digest }) => digest !== image.digest)!;
    const text = await readFile(join(archive, INDEX), 'utf8');
    await expect(finalizeBefore(former)).rejects.toMatchObject({ code: 'unsupported' });
    expect(await readFile(join(archive, INDEX), 'utf8')).toBe(text);
  });

  test('without a policy is still written by the previous release, after this one has recorded checks', async () => {
    registry.push('team/app', makeArtifact({ subject: image }));
    await sync();
    const former = (await indexOf()).manifests.find(
      ({ annotations }) => annotations['dev.mirror-sync.tag'] !== undefined,
    );
    await finalizeBefore(former!);
    const { manifests } = await indexOf();
    const [latest] = manifests;
    expect(latest).toMatchObject({ digest: former!.digest });
    const checked = manifests.filter(({ annotations }) => 'dev.mirror-sync.referrers-checked' in annotations);
    expect(checked.map(({ digest }) => digest)).toEqual([image.digest, image.digest]);
    expect(manifests.map(({ annotations }) => annotations['dev.mirror-sync.subject'])).toContain(image.digest);
    expect(await problemsIn()).toEqual([]);
  });
});

test('the previous release leaves a policy in its queue', async () => {
  const { parseMessage } = await previous();
  const order = { run: 'run-1', source: REPOSITORY, repository: REPOSITORY, platforms: 'all' as const };
  const { message } = changeMessage(order, { policy: NO_POLICY });
  expect(() => parseMessage(serialise(message))).toThrow(expect.objectContaining({ code: 'unsupported' }));
});

interface Previous {
  readonly Archive: typeof Archive;
  readonly ociLayout: typeof ociLayout;
  readonly finalize: (context: object, messages: readonly object[], options: object) => Promise<void>;
  readonly parseMessage: (text: string) => object;
}

async function previous(): Promise<Previous> {
  return (await import(join(RELEASE, 'finalizer.js'))) as Previous;
}

/** Moves the tag `latest` to an image with the finalizer of the previous release. */
async function finalizeBefore({ digest, mediaType, size }: RawDescriptor): Promise<void> {
  const release = await previous();
  await using store = new FolderStore(archive);
  const context = { archive: new release.Archive(store, release.ociLayout), record: () => Promise.resolve() };
  const order = { run: 'run-1', source: REPOSITORY, repository: REPOSITORY, platforms: 'all' as const };
  const image = { digest, mediaType, size, tag: 'latest', observed: Date.now() };
  const { message } = finalizeMessage(order, image, 'resolver');
  await release.finalize(context, [release.parseMessage(serialise(message))], { signal: SIGNAL });
}
