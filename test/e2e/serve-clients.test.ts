/** Real clients use `mirror-sync serve` beyond a copy of each kind, which serve-matrix.test.ts has. */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { mirrorSync } from '../kit/command-line.ts';
import { KINDS } from '../kit/kinds.ts';
import { SPARSE } from '../kit/matrix.ts';
import { describeWith, run, startDistribution } from '../kit/real.ts';
import { IMAGES, type Mirrored, mirrorImages, serving } from '../kit/serving.ts';

/** The kinds that Debian's docker-registry (2.8) accepts in different ways. serve-matrix.test.ts reads all kinds with skopeo. */
const RESTORED = [
  'index',
  ...['a Docker image', 'a Docker list of OCI images', 'an image with an attestation', 'an artifact'].map(
    (kind) => `kind-${KINDS.findIndex(({ name }) => name === kind)}`,
  ),
];

let mirrored: Mirrored;

beforeAll(async () => {
  mirrored = await mirrorImages();
});

afterAll(async () => {
  await mirrored[Symbol.asyncDispose]();
});

describeWith(['skopeo', 'docker-registry'], 'skopeo', () => {
  test('restores images in a registry, which then has the digest of upstream', async () => {
    await using served = await serving(mirrored.archive);
    await using restored = await startDistribution(mirrored.folder.join('restored'));
    for (const tag of RESTORED) {
      const { digest, mediaType } = IMAGES.get(tag)!;
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
        headers: { accept: mediaType },
      });
      expect([tag, head.headers.get('docker-content-digest')]).toEqual([tag, digest]);
    }
  });
});

describeWith(['crane'], 'crane', () => {
  test('lists the tags, and names the digest of a nested index', async () => {
    await using served = await serving(mirrored.archive);
    const name = `${served.host}/${mirrored.name}`;
    const tags = (await run('crane', ['ls', '--insecure', name])).trim().split('\n');
    expect(tags.sort()).toEqual([...IMAGES.keys()].sort());
    const digest = await run('crane', ['digest', '--insecure', `${name}:nested`]);
    expect(digest.trim()).toBe(IMAGES.get('nested')?.digest);
  });
});

describeWith(['crane', 'skopeo'], 'an image that was mirrored for one platform', () => {
  test('is restored for this platform, and the response for another one names the reason', async () => {
    const { archive, folder, registry, name } = mirrored;
    registry.push('team/sparse', SPARSE, '1');
    const source = `${registry.host}/team/sparse:1`;
    expect(await mirrorSync(['sync', source, '--platform', 'linux/amd64', '--to', archive])).toMatchObject({ code: 0 });
    await using served = await serving(archive);
    const reference = `${served.host}/${name.replace('/app', '/sparse')}:1`;
    const crane = (platform: string, to: string): Promise<string> =>
      run('crane', ['pull', '--insecure', '--format=oci', '--platform', platform, reference, folder.join(to)]);
    await crane('linux/amd64', 'amd64');
    await expect(crane('linux/arm64', 'arm64')).rejects.toThrow('archived for some of its platforms only');
    const skopeo = (arch: string): Promise<string> =>
      run('skopeo', [
        ...['--override-arch', arch, 'copy', '--src-tls-verify=false'],
        ...[`docker://${reference}`, `dir:${folder.join(`skopeo-${arch}`)}`],
      ]);
    await skopeo('amd64');
    await expect(skopeo('arm64')).rejects.toThrow('archived for some of its platforms only');
    const [child] = SPARSE.children;
    expect(await readFile(folder.join('skopeo-amd64/manifest.json'))).toEqual(child?.manifest);
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
