/** Real clients pull from an archive on a real S3 server, through redirects or through `mirror-sync serve` itself. */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ociLayout } from '../../lib/archive/oci-layout.ts';
import { mirrorSync, summaryOf } from '../kit/command-line.ts';
import { type Image, makeImage, makeIndex, makeLayer } from '../kit/images.ts';
import { describeWith, run } from '../kit/real.ts';
import { startRegistry, type TestRegistry } from '../kit/registry.ts';
import { describeWithS3 } from '../kit/s3-suite.ts';
import { type Serving, serving } from '../kit/serving.ts';
import { tempFolder, type TempFolder } from '../kit/temp.ts';

const MiB = 1024 * 1024;
/** Several parts on S3. */
const LARGE = makeLayer({ seed: 1, size: 17 * MiB, compression: 'none' });
const SMALL = makeLayer({ seed: 2, size: 100_000 });
const LAYERS = [LARGE, SMALL];
const IMAGE = makeImage({ layers: LAYERS });
const INDEX = makeIndex([IMAGE, makeImage({ layers: [SMALL] })]);

await describeWithS3('mirror-sync serve and S3', (server) => {
  let folder: TempFolder;
  let registry: TestRegistry;
  let bucket: string;
  let archive: string;
  let name: string;

  beforeAll(async () => {
    [registry, folder, bucket] = await Promise.all([startRegistry(), tempFolder(), server.bucket()]);
    archive = `s3://${bucket}/a b/ü+`;
    name = `${registry.host.replace(':', '_')}/team/app`;
    registry.push('team/app', IMAGE, 'image');
    registry.push('team/app', INDEX, 'index');
    const args = ['sync', `${registry.host}/team/app`, '--all-tags', '--to', archive, '--json'];
    expect(summaryOf(await mirrorSync(args, server.env))).toMatchObject({ mirrored: 2, failed: 0 });
  });
  afterAll(async () => {
    await registry.close();
    await folder.remove();
  });

  const serve = (...args: string[]): Promise<Serving> => serving(archive, args, server.env);
  const urlOf = ({ host }: Serving, { digest }: { readonly digest: string }): string =>
    `http://${host}/v2/${name}/blobs/${digest}`;

  test('redirects GET of a layer to S3, which sends the bytes and the ranges of upstream', async () => {
    await using served = await serve();
    const url = urlOf(served, LARGE);
    const redirect = await fetch(url, { redirect: 'manual' });
    expect(redirect.status).toBe(307);
    const location = new URL(redirect.headers.get('location') ?? '');
    expect(location.origin).toBe(server.endpoint);
    expect(location.searchParams.get('X-Amz-SignedHeaders')).toBe('host');
    expect(redirect.headers.get('cache-control')).toBe('no-store');
    for (const { digest, blob } of LAYERS)
      expect(Buffer.from(await (await fetch(urlOf(served, { digest }))).arrayBuffer()).equals(blob)).toBe(true);
    for (const [range, status, bytes] of [
      ['bytes=10-19', 206, LARGE.blob.subarray(10, 20)],
      ['bytes=-5', 206, LARGE.blob.subarray(-5)],
      [`bytes=${LARGE.size - 3}-`, 206, LARGE.blob.subarray(-3)],
    ] as const) {
      const part = await fetch(url, { headers: { range } });
      expect([range, part.status, Buffer.from(await part.arrayBuffer())]).toEqual([range, status, bytes]);
    }
    expect((await fetch(url, { headers: { range: `bytes=${LARGE.size}-` } })).status).toBe(416);
  });

  test('answers HEAD, a client that has the layer, and a config without a redirect', async () => {
    await using served = await serve();
    const head = await fetch(urlOf(served, LARGE), { method: 'HEAD', redirect: 'error' });
    expect([head.status, head.headers.get('content-length')]).toEqual([200, String(LARGE.size)]);
    const headers = { 'if-none-match': `"${LARGE.digest}"` };
    expect((await fetch(urlOf(served, LARGE), { headers, redirect: 'error' })).status).toBe(304);
    const config = configOf(IMAGE);
    const found = await fetch(urlOf(served, config), { redirect: 'error' });
    expect(Buffer.from(await found.arrayBuffer())).toEqual(Buffer.from(config.bytes));
  });

  test('answers 404 through S3 for a layer that was removed after its first request', async () => {
    const [of, at] = [await server.bucket(), 'x'];
    const copy = `s3://${of}/${at}`;
    expect((await mirrorSync(['sync', `${registry.host}/team/app:image`, '--to', copy], server.env)).code).toBe(0);
    await using served = await serving(copy, [], server.env);
    expect((await fetch(urlOf(served, SMALL))).status).toBe(200);
    const store = await server.store({ bucket: of, prefix: at });
    await store.delete(ociLayout.blob(SMALL.digest));
    expect((await fetch(urlOf(served, SMALL))).status).toBe(404);
    expect((await fetch(urlOf(served, SMALL), { method: 'HEAD' })).status).toBe(404);
  });

  test('--proxy-blobs streams layers and their ranges, and no response names S3', async () => {
    await using served = await serve('--proxy-blobs');
    for (const { digest, blob } of LAYERS) {
      const whole = await fetch(urlOf(served, { digest }), { redirect: 'error' });
      expect(Buffer.from(await whole.arrayBuffer()).equals(blob)).toBe(true);
      const part = await fetch(urlOf(served, { digest }), { redirect: 'error', headers: { range: 'bytes=-7' } });
      expect([part.status, Buffer.from(await part.arrayBuffer())]).toEqual([206, blob.subarray(-7)]);
    }
  });

  describeWith(['skopeo'], 'skopeo', () => {
    test.each([['through redirects'], ['through the server', '--proxy-blobs']])(
      'copies an index with its digest and bytes: %s',
      async (title, ...args) => {
        await using served = await serve(...args);
        const layout = folder.join(`skopeo-${title.replaceAll(' ', '-')}`);
        const from = `docker://${served.host}/${name}:index`;
        await run('skopeo', ['copy', '--all', '--preserve-digests', '--src-tls-verify=false', from, `oci:${layout}:x`]);
        await expectLayout(layout);
      },
    );
  });

  describeWith(['crane'], 'crane', () => {
    test('pulls an index through redirects with its digest and bytes', async () => {
      await using served = await serve();
      const layout = folder.join('crane');
      await run('crane', ['pull', '--insecure', '--format=oci', `${served.host}/${name}:index`, layout]);
      await expectLayout(layout);
    });
  });

  describeWith(['podman'], 'podman', () => {
    test('pulls an image through redirects', async () => {
      await using served = await serve();
      const root = folder.join('podman');
      await mkdir(root, { recursive: true });
      await writeFile(`${root}/registries.conf`, `[[registry]]\nlocation = "${served.host}"\ninsecure = true\n`);
      const storage = ['--root', `${root}/root`, '--runroot', `${root}/run`, '--storage-driver', 'vfs'];
      const env = { CONTAINERS_REGISTRIES_CONF: `${root}/registries.conf` };
      const id = await run('podman', [...storage, 'pull', '--quiet', `${served.host}/${name}:image`], env);
      expect(`sha256:${id.trim()}`).toBe(configOf(IMAGE).digest);
    });
  });

  async function expectLayout(layout: string): Promise<void> {
    const index = JSON.parse(await readFile(`${layout}/index.json`, 'utf8')) as { manifests: { digest: string }[] };
    expect(index.manifests[0]?.digest).toBe(INDEX.digest);
    for (const { digest, blob } of LAYERS)
      expect((await readFile(`${layout}/blobs/${digest.replace(':', '/')}`)).equals(blob)).toBe(true);
  }
});

function configOf({ manifest, blobs }: Image): { readonly digest: string; readonly bytes: Uint8Array } {
  const { config } = JSON.parse(manifest.toString()) as { config: { digest: string } };
  const [, bytes] = [...blobs].find(([digest]) => digest === config.digest) ?? [];
  if (bytes === undefined) throw new Error('the image has no config');
  return { digest: config.digest, bytes };
}
