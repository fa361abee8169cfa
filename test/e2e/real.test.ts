/** Real images from a real registry, mirrored by the real command line, and read by independent tools. */
import { createHash } from 'node:crypto';
import { copyFile, mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { jsonLines, mirrorSync, summaryOf } from '../kit/command-line.ts';
import { Buildah, describeWith, type Distribution, run, served, startDistribution } from '../kit/real.ts';
import { tempFolder, type TempFolder } from '../kit/temp.ts';
import { plantTree, type Tree, treeOf } from '../kit/tree.ts';

const PROJECT = join(import.meta.dirname, '../..');
const APP = 'tools/app';
const OTHER = 'team/other';

/** The kind of image that each tag is upstream, as the tests require of buildah and skopeo. */
const UPSTREAM = {
  docker: 'application/vnd.docker.distribution.manifest.v2+json',
  // Another name of `docker`, by skopeo.
  stable: 'application/vnd.docker.distribution.manifest.v2+json',
  // `docker` with a layer on top.
  child: 'application/vnd.docker.distribution.manifest.v2+json',
  oci: 'application/vnd.oci.image.manifest.v1+json',
  zstd: 'application/vnd.oci.image.manifest.v1+json',
  plain: 'application/vnd.oci.image.manifest.v1+json',
  list: 'application/vnd.docker.distribution.manifest.list.v2+json',
  index: 'application/vnd.oci.image.index.v1+json',
} as const;

type Tag = keyof typeof UPSTREAM;
const TAGS = Object.keys(UPSTREAM) as Tag[];

interface Document {
  readonly manifests?: readonly { readonly digest: string; readonly mediaType: string }[];
  readonly layers?: readonly { readonly digest: string; readonly mediaType: string }[];
}

describeWith(['docker-registry', 'buildah', 'skopeo', 'umoci', 'zstd', 'tar'], 'real tools', () => {
  let folder: TempFolder;
  let registry: Distribution;
  let buildah: Buildah;
  let archive: string;
  const trees: Record<string, Tree> = {};

  beforeAll(async () => {
    folder = await tempFolder();
    registry = await startDistribution(folder.join('registry'));
    buildah = new Buildah(folder.join('buildah'));
    archive = folder.join('archive');
    await pushEverything();
  }, 120_000);

  afterAll(async () => {
    await registry[Symbol.asyncDispose]();
    await folder.remove();
  });

  const upstream = (name: string): string => `docker://${registry.host}/${name}`;
  const sync = (...args: string[]) => mirrorSync(['sync', ...args, '--json']);

  async function plant(name: string): Promise<string> {
    const root = folder.join('trees', name);
    await plantTree(root, name);
    trees[name] = await treeOf(root);
    return root;
  }

  async function pushEverything(): Promise<void> {
    const amd64 = await buildah.build('amd64', await plant('amd64'));
    const arm64 = await buildah.build('arm64', await plant('arm64'), { arch: 'arm64' });
    await buildah.push(amd64, upstream(`${APP}:docker`), 'v2s2');
    await buildah.push(amd64, upstream(`${APP}:oci`), 'oci');
    await buildah.pushList('list', [amd64, arm64], upstream(`${APP}:list`), 'v2s2');
    await buildah.pushList('index', [amd64, arm64], upstream(`${APP}:index`), 'oci');

    const top = folder.join('trees', 'top');
    await mkdir(top);
    await copyFile(join(PROJECT, 'README.md'), join(top, 'README.md'));
    const child = await buildah.build('child', top, { from: 'localhost/amd64' });
    trees['child'] = { ...trees['amd64'], ...(await treeOf(top)) };
    await buildah.push(child, upstream(`${APP}:child`), 'v2s2');

    // The trees differ, because buildah pushes an existing layer in no other compression.
    const zstd = await buildah.build('zstd', await plant('zstd'));
    await buildah.push(zstd, upstream(`${APP}:zstd`), 'oci', '--compression-format', 'zstd');
    const plain = await buildah.build('plain', await plant('plain'));
    await buildah.push(plain, `dir:${folder.join('plain')}`, 'oci', '--disable-compression');

    const skopeo = (from: string, to: string): Promise<string> => run('skopeo', [...COPY, ...LOOPBACK, from, to]);
    await skopeo(`dir:${folder.join('plain')}`, upstream(`${APP}:plain`));
    await skopeo(upstream(`${APP}:docker`), upstream(`${APP}:stable`));
    await skopeo(upstream(`${APP}:index`), upstream(`${OTHER}:1.0`));
  }

  /**
   * The reference of a tag for `oci:`. skopeo looks up only tags of OCI media types, and accepts any entry of a layout with one
   * entry. So an image in Docker's format gets its own layout next to the shared blobs.
   */
  async function layoutOf(tag: Tag, of = archive): Promise<string> {
    const repository = join(of, 'repositories', registry.host.replace(':', '_'), APP);
    if (!UPSTREAM[tag].includes('docker')) return `oci:${repository}:${tag}`;
    const index = JSON.parse(await readFile(join(repository, 'index.json'), 'utf8')) as {
      manifests: { annotations: Record<string, string> }[];
    };
    const manifests = index.manifests.filter((entry) => entry.annotations[REF_NAME] === tag);
    const single = folder.join('single', tag);
    await mkdir(single, { recursive: true });
    await copyFile(join(repository, 'oci-layout'), join(single, 'oci-layout'));
    await writeFile(join(single, 'index.json'), JSON.stringify({ ...index, manifests }));
    return `oci:${single}`;
  }

  test('the tools create every kind of image', async () => {
    for (const tag of TAGS) expect((await served(registry.host, `${APP}:${tag}`)).mediaType, tag).toBe(UPSTREAM[tag]);
    const layersOf = async (tag: Tag): Promise<Document['layers']> =>
      documentOf((await served(registry.host, `${APP}:${tag}`)).bytes).layers;
    const [docker, oci, child, zstd, plain] = await Promise.all(
      (['docker', 'oci', 'child', 'zstd', 'plain'] as const).map(layersOf),
    );
    expect(zstd?.[0]?.mediaType).toBe('application/vnd.oci.image.layer.v1.tar+zstd');
    expect(plain?.[0]?.mediaType).toBe('application/vnd.oci.image.layer.v1.tar');
    expect(child).toHaveLength(2);
    expect([oci?.[0]?.digest, child?.[0]?.digest]).toEqual([docker?.[0]?.digest, docker?.[0]?.digest]);
  });

  describe('mirrored', () => {
    beforeAll(async () => {
      const ended = await sync('--all-tags', `${registry.host}/${APP}`, '--to', archive);
      expect(ended, ended.stdout).toMatchObject({ code: 0, stderr: '' });
      const summary = summaryOf(ended);
      expect(summary).toMatchObject({ mirrored: TAGS.length, unchanged: 0, failed: 0 });
      expect(summary.images.map(({ reference }) => reference).sort()).toEqual(
        TAGS.map((tag) => `${registry.host}/${APP}:${tag}`).sort(),
      );
    });

    test.each(TAGS)('%s has the same bytes and digests as upstream, down to its layers', async (tag) => {
      const root = await served(registry.host, `${APP}:${tag}`);
      const listed = jsonLines(await mirrorSync(['ls', archive, '--json'])) as { reference: string; digest: string }[];
      expect(listed.find(({ reference }) => reference.endsWith(`:${tag}`))?.digest).toBe(root.digest);
      expect(await readFile(blobPath(archive, root.digest))).toEqual(root.bytes);
      const children = documentOf(root.bytes).manifests ?? [];
      expect(children).toHaveLength(tag === 'list' || tag === 'index' ? 2 : 0);
      for (const { digest } of children)
        expect(await readFile(blobPath(archive, digest))).toEqual(
          (await served(registry.host, `${APP}@${digest}`)).bytes,
        );
    });

    test.each(TAGS)('%s can be inspected with skopeo', async (tag) => {
      const layout = await layoutOf(tag);
      const shared = ['--shared-blob-dir', join(archive, 'blobs')];
      const { digest } = await served(registry.host, `${APP}:${tag}`);
      const raw = await run('skopeo', ['inspect', '--raw', ...shared, layout]);
      expect(`sha256:${createHash('sha256').update(raw).digest('hex')}`).toBe(digest);
      const inspected = JSON.parse(await run('skopeo', ['inspect', '--override-arch', 'arm64', ...shared, layout])) as {
        Architecture: string;
      };
      expect(inspected.Architecture).toBe(tag === 'list' || tag === 'index' ? 'arm64' : 'amd64');
    });

    // The digest stays the same.
    test.each(TAGS)('%s can be copied back into a registry with skopeo', async (tag) => {
      const name = `restored/app:${tag}`;
      await run('skopeo', [...COPY, ...LOOPBACK, ...sharedBlobs(archive), await layoutOf(tag), upstream(name)]);
      expect((await served(registry.host, name)).digest).toBe((await served(registry.host, `${APP}:${tag}`)).digest);
    });

    test.each([
      ['docker', 'amd64', 'amd64'],
      ['stable', 'amd64', 'amd64'],
      ['child', 'amd64', 'child'],
      ['oci', 'amd64', 'amd64'],
      ['plain', 'amd64', 'plain'],
      ['list', 'amd64', 'amd64'],
      ['list', 'arm64', 'arm64'],
      ['index', 'amd64', 'amd64'],
      ['index', 'arm64', 'arm64'],
    ] as const)('%s unpacks with umoci for %s to the original files', async (tag, arch, tree) => {
      expect(await unpack(await layoutOf(tag), arch)).toEqual(trees[tree]);
    });

    // umoci does not support zstd.
    test('a zstd layer unpacks with zstd and tar to the original files', async () => {
      const { layers } = documentOf((await served(registry.host, `${APP}:zstd`)).bytes);
      const to = folder.join('unpacked-zstd');
      await mkdir(to);
      const blob = blobPath(archive, layers?.[0]?.digest ?? '');
      await run('tar', ['--extract', '--zstd', '--same-permissions', '--file', blob, '--directory', to]);
      expect(await treeOf(to)).toEqual(trees['zstd']);
    });

    test('an archive has no problems in verify', async () => {
      const ended = await mirrorSync(['verify', archive, '--json']);
      expect(ended.code, ended.stdout).toBe(0);
      expect(jsonLines(ended)).toEqual([expect.objectContaining({ ok: true, references: TAGS.length, problems: 0 })]);
    });

    // Even the modification times stay.
    test('a second sync finds everything unchanged and writes nothing', async () => {
      const before = await filesOf(archive);
      const ended = await sync('--all-tags', `${registry.host}/${APP}`, '--to', archive);
      expect(ended.code).toBe(0);
      expect(summaryOf(ended)).toMatchObject({ mirrored: 0, unchanged: TAGS.length, failed: 0 });
      expect(await filesOf(archive)).toEqual(before);
    });

    test('blobs of another repository are not fetched again, only the manifest of the tag', async () => {
      const { bytes } = await served(registry.host, `${OTHER}:1.0`);
      const ended = await sync(`${registry.host}/${OTHER}:1.0`, '--to', archive);
      expect(ended.code, ended.stdout).toBe(0);
      const [image] = summaryOf(ended).images;
      expect(image).toMatchObject({ status: 'mirrored', bytes: bytes.length });
    });
  });

  test('one platform of an index can be read by other tools under the digest of the index', async () => {
    const to = folder.join('arm-only');
    const ended = await sync(`${registry.host}/${APP}:index`, '--platform', 'linux/arm64', '--to', to);
    expect(ended.code, ended.stdout).toBe(0);
    const root = await served(registry.host, `${APP}:index`);
    expect(summaryOf(ended).images[0]?.digest).toBe(root.digest);
    const here = await Promise.all(
      (documentOf(root.bytes).manifests ?? []).map(({ digest }) =>
        stat(blobPath(to, digest)).then(Boolean, () => false),
      ),
    );
    expect(here.sort()).toEqual([false, true]);
    expect(await unpack(await layoutOf('index', to), 'arm64', to)).toEqual(trees['arm64']);
    expect((await mirrorSync(['verify', to])).code).toBe(0);
  });

  test('a tag that moves upstream is updated, and its old digest can still be pulled', async () => {
    const to = folder.join('moving');
    const name = `${registry.host}/team/moving:latest`;
    const moveTo = (tag: Tag): Promise<string> =>
      run('skopeo', [...COPY, ...LOOPBACK, upstream(`${APP}:${tag}`), `docker://${name}`]);
    const rows = async (): Promise<unknown[]> => jsonLines(await mirrorSync(['ls', to, '--json']));
    await moveTo('docker');
    const { digest: old } = await served(registry.host, 'team/moving:latest');
    expect((await sync(name, '--to', to)).code).toBe(0);
    await moveTo('child');
    const { digest: young } = await served(registry.host, 'team/moving:latest');
    expect(young).not.toBe(old);
    expect(summaryOf(await sync(name, '--to', to))).toMatchObject({ mirrored: 1, unchanged: 0 });
    expect(await rows()).toEqual([
      expect.objectContaining({ reference: name, digest: young }),
      expect.objectContaining({ reference: `${name.replace(/:latest$/, '')}@${old}`, hadTag: 'latest' }),
    ]);
    expect((await mirrorSync(['verify', to])).code).toBe(0);
  });

  /**
   * The files that umoci unpacks of the image for an architecture. It requires blobs inside the layout, and OCI
   * formats.
   */
  async function unpack(layout: string, arch: string, of = archive): Promise<Tree> {
    await using own = await tempFolder();
    const flat = own.join('flat');
    await run('skopeo', ['copy', '--quiet', '--override-arch', arch, ...sharedBlobs(of), layout, `oci:${flat}:image`]);
    const rootless = process.getuid?.() === 0 ? [] : ['--rootless'];
    await run('umoci', ['unpack', ...rootless, '--image', `${flat}:image`, own.join('bundle')]);
    return await treeOf(own.join('bundle/rootfs'));
  }
});

const REF_NAME = 'org.opencontainers.image.ref.name';
const COPY = ['copy', '--quiet', '--all', '--preserve-digests'];
const LOOPBACK = ['--src-tls-verify=false', '--dest-tls-verify=false'];

function sharedBlobs(archive: string): string[] {
  return ['--src-shared-blob-dir', join(archive, 'blobs')];
}

function blobPath(archive: string, digest: string): string {
  return join(archive, 'blobs', ...digest.split(':'));
}

function documentOf(bytes: Buffer): Document {
  return JSON.parse(bytes.toString()) as Document;
}

/** Every file with the properties that a write changes. */
async function filesOf(root: string): Promise<Record<string, string>> {
  const files: Record<string, string> = {};
  for (const path of (await readdir(root, { recursive: true })).sort()) {
    const found = await stat(join(root, path));
    if (found.isFile()) files[path] = `${found.ino} ${found.size} ${found.mtimeMs}`;
  }
  return files;
}
