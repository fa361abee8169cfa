/** Real clients pull every kind of image from `mirror-sync serve`, with the digest and the bytes of upstream. */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { KINDS } from '../kit/kinds.ts';
import { describeWith, run, startDistribution } from '../kit/real.ts';
import { IMAGES, type Mirrored, mirrorImages, serving } from '../kit/serving.ts';

/**
 * What Debian's skopeo (1.9) cannot copy into docker-registry (2.8): neither knows nested indexes, zstd in Docker's formats or
 * digests other than SHA-256, and docker-registry signs schema 1.
 */
const NOT_FOR_SKOPEO: ReadonlySet<string> = new Set([
  ...['nested', 'schema1'],
  ...['an index of an index', 'zstd in a Docker manifest', 'SHA-512 everywhere'].map(
    (kind) => `kind-${KINDS.findIndex(({ name }) => name === kind)}`,
  ),
]);

/** oras 1.3 does not copy schema 1. */
const NOT_FOR_ORAS: ReadonlySet<string> = new Set(['schema1']);

let mirrored: Mirrored;

beforeAll(async () => {
  mirrored = await mirrorImages();
});

afterAll(async () => {
  await mirrored[Symbol.asyncDispose]();
});

async function digestIn(layout: string): Promise<string | undefined> {
  const index = JSON.parse(await readFile(`${layout}/index.json`, 'utf8')) as { manifests: { digest: string }[] };
  return index.manifests[0]?.digest;
}

describeWith(['skopeo', 'docker-registry'], 'skopeo', () => {
  test('copies every kind that it supports into a registry, which then has the digest of upstream', async () => {
    await using served = await serving(mirrored.archive);
    await using restored = await startDistribution(mirrored.folder.join('restored'));
    for (const [tag, { digest }] of IMAGES) {
      if (NOT_FOR_SKOPEO.has(tag)) continue;
      const [from, to] = [`docker://${served.host}/${mirrored.name}:${tag}`, `docker://${restored.host}/app:${tag}`];
      await run('skopeo', [
        'copy',
        '--all',
        '--preserve-digests',
        '--src-tls-verify=false',
        '--dest-tls-verify=false',
        from,
        to,
      ]);
      const head = await fetch(`http://${restored.host}/v2/app/manifests/${tag}`, {
        method: 'HEAD',
        headers: { accept: IMAGES.get(tag)!.mediaType },
      });
      expect([tag, head.headers.get('docker-content-digest')]).toEqual([tag, digest]);
    }
  });
});

describeWith(['crane'], 'crane', () => {
  test('names the digest of every kind, and pulls an index', async () => {
    await using served = await serving(mirrored.archive);
    for (const [tag, { digest }] of IMAGES)
      expect([
        tag,
        (await run('crane', ['digest', '--insecure', `${served.host}/${mirrored.name}:${tag}`])).trim(),
      ]).toEqual([tag, digest]);
    const layout = mirrored.folder.join('crane');
    await run('crane', ['pull', '--insecure', '--format=oci', `${served.host}/${mirrored.name}:nested`, layout]);
    expect(await digestIn(layout)).toBe(IMAGES.get('nested')?.digest);
    const tags = (await run('crane', ['ls', '--insecure', `${served.host}/${mirrored.name}`])).trim().split('\n');
    expect(tags.sort()).toEqual([...IMAGES.keys()].sort());
  });
});

describeWith(['regctl'], 'regctl', () => {
  test('copies every kind into an OCI layout with the digest of upstream', async () => {
    await using served = await serving(mirrored.archive);
    for (const [tag, { digest }] of IMAGES) {
      if (tag === 'schema1') continue;
      const layout = mirrored.folder.join(`regctl-${tag}`);
      await run('regctl', [
        '--host',
        `reg=${served.host},tls=disabled`,
        'image',
        'copy',
        `${served.host}/${mirrored.name}:${tag}`,
        `ocidir://${layout}:x`,
      ]);
      expect([tag, await digestIn(layout)]).toEqual([tag, digest]);
    }
  });
});

describeWith(['oras'], 'oras', () => {
  test('fetches the manifest of every kind, and copies images and artifacts into an OCI layout', async () => {
    await using served = await serving(mirrored.archive);
    const name = `${served.host}/${mirrored.name}`;
    for (const [tag, { manifest }] of IMAGES)
      expect([tag, await run('oras', ['manifest', 'fetch', '--plain-http', `${name}:${tag}`])]).toEqual([
        tag,
        manifest.toString(),
      ]);
    for (const [tag, { digest }] of IMAGES) {
      if (NOT_FOR_ORAS.has(tag)) continue;
      const layout = mirrored.folder.join(`oras-${tag}`);
      await run('oras', [
        'copy',
        '--recursive',
        '--from-plain-http',
        '--to-oci-layout',
        `${name}:${tag}`,
        `${layout}:x`,
      ]);
      expect([tag, await digestIn(layout)]).toEqual([tag, digest]);
    }
  });
});

describeWith(['podman'], 'podman', () => {
  test('pulls through the mirror that serve prints, without asking upstream', async () => {
    await using served = await serving(mirrored.archive);
    const root = mirrored.folder.join('podman');
    await mkdir(root, { recursive: true });
    const { registry, name } = mirrored;
    const config = [
      '[[registry]]',
      `location = "${registry.host}"`,
      '[[registry.mirror]]',
      `location = "${served.host}/${name.replace('/team/app', '')}"`,
      'insecure = true',
    ].join('\n');
    await writeFile(`${root}/registries.conf`, config);
    registry.forgetRequests();
    const storage = ['--root', `${root}/root`, '--runroot', `${root}/run`, '--storage-driver', 'vfs'];
    const reference = `${registry.host}/team/app:index`;
    const environment = { CONTAINERS_REGISTRIES_CONF: `${root}/registries.conf` };
    const id = await run('podman', [...storage, 'pull', '--quiet', reference], environment);
    expect(id.trim()).toMatch(/^[0-9a-f]{64}$/);
    expect(registry.requests).toEqual([]);
  });
});
