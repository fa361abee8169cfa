/** `mirror-sync serve --config` mirrors the images that clients miss. */
import { mkdir, writeFile } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { mirrorSync } from '../kit/command-line.ts';
import { makeImage, makeLayer } from '../kit/images.ts';
import { type Hub, startHub } from '../kit/hub.ts';
import type { TestRegistry } from '../kit/registry.ts';
import { describeWithS3 } from '../kit/s3-suite.ts';
import { serving, type Serving } from '../kit/serving.ts';

const IMAGE = makeImage({ layers: [makeLayer({ seed: 1 })] });

let hub: Hub;
let upstream: TestRegistry;
let archive: string;
let config: string;

beforeEach(async () => {
  hub = await startHub({ '1.0': IMAGE, '1.1': IMAGE, '2.0': IMAGE }, "{ include: ['1.*'] }");
  ({ upstream, archive, config } = hub);
});

afterEach(() => hub[Symbol.asyncDispose]());

async function status(served: Serving, target: string, method = 'GET'): Promise<number> {
  const response = await fetch(`http://${served.host}/v2/${target}`, { method });
  await response.arrayBuffer();
  return response.status;
}

describe('mirror-sync serve --config', () => {
  test.each([
    ['docker.io/library/app/manifests/1.0', 'GET', []],
    ['docker.io/app/manifests/1.0', 'HEAD', []],
    ['library/app/manifests/1.0?ns=docker.io', 'HEAD', []],
    ['app/manifests/1.0', 'GET', ['--default-host', 'docker.io']],
  ])('answers 404 for the missing %s, and has the image for a later %s', async (target, method, options) => {
    await using served = await serving(archive, ['--config', config, ...options]);
    expect(await status(served, target, method)).toBe(404);
    await expect.poll(() => status(served, target, method), { timeout: 20_000 }).toBe(200);
    const response = await fetch(`http://${served.host}/v2/${target}`);
    expect(Buffer.from(await response.arrayBuffer())).toEqual(IMAGE.manifest);
    const ended = await served.stop();
    expect(ended.code).toBe(0);
    expect(ended.stderr).toContain(`mirrored docker.io/library/app:1.0  ${IMAGE.digest}`);
  });

  test('answers while upstream does not answer, orders a tag once, and ends at once after SIGTERM', async () => {
    const stalled = upstream.misbehave({ do: { noAnswer: true } });
    await using served = await serving(archive, ['--config', config]);
    for (let request = 0; request < 3; request += 1) {
      expect(await status(served, 'docker.io/library/app/manifests/1.0')).toBe(404);
      expect(await status(served, 'docker.io/library/app/manifests/1.1', 'HEAD')).toBe(404);
    }
    await expect.poll(() => upstream.count({ kind: 'manifest' })).toBe(2);
    const metrics = await (await fetch(`http://${served.host}/metrics`)).text();
    expect(metrics).toContain('mirror_sync_serve_orders_total{result="ordered"} 2\n');
    expect(metrics).toContain('mirror_sync_serve_orders_total{result="recent"} 4\n');
    const ended = await served.stop();
    expect(ended.code).toBe(0);
    expect(ended.stderr).not.toContain('mirrored');
    stalled.stop();
  });

  test('orders no tag that the configuration does not admit, and no earlier state', async () => {
    await using served = await serving(archive, ['--config', config]);
    for (const target of [
      'docker.io/library/app/manifests/2.0',
      'docker.io/library/other/manifests/1.0',
      'at-20260131/docker.io/library/app/manifests/1.0',
      `docker.io/library/app/manifests/${IMAGE.digest}`,
    ])
      expect([target, await status(served, target)]).toEqual([target, 404]);
    // The order of the last request would follow those of the others.
    expect(await status(served, 'docker.io/library/app/manifests/1.1')).toBe(404);
    await expect.poll(() => status(served, 'docker.io/library/app/manifests/1.1'), { timeout: 20_000 }).toBe(200);
    await served.stop();
    expect(new Set(upstream.requests.flatMap(({ tag }) => tag ?? []))).toEqual(new Set(['1.1']));
  });

  test('reports an image that cannot be mirrored in one line, and prints results as objects with --json', async () => {
    upstream.untag('library/app', '1.0');
    await using served = await serving(archive, ['--config', config, '--json']);
    expect(await status(served, 'docker.io/library/app/manifests/1.0')).toBe(404);
    expect(await status(served, 'docker.io/library/app/manifests/1.1')).toBe(404);
    await expect.poll(() => status(served, 'docker.io/library/app/manifests/1.1'), { timeout: 20_000 }).toBe(200);
    const { stdout } = await served.stop();
    const events = stdout.split('\n').filter((line) => line.includes('"type":"image"'));
    expect(events.map((line) => (JSON.parse(line) as { status: string }).status).sort()).toEqual([
      'failed',
      'mirrored',
    ]);
    // The hint for a missing tag lists the tags once more; the referrers of 1.1 did so before.
    const lists = upstream.count({ kind: 'tags' });
    await using plain = await serving(archive, ['--config', config]);
    expect(await status(plain, 'docker.io/library/app/manifests/1.0')).toBe(404);
    await expect
      .poll(async () => await (await fetch(`http://${plain.host}/metrics`)).text())
      .toContain('orders_total{result="ordered"} 1');
    await expect.poll(() => upstream.count({ kind: 'tags' })).toBeGreaterThan(lists);
    const { stderr } = await plain.stop();
    expect(stderr.split('\n').filter((line) => line.startsWith('mirror docker.io/library/app:1.0: '))).toHaveLength(1);
  });

  test('needs an archive that it can write, and a valid configuration', async () => {
    await mkdir(archive);
    await writeFile(`${archive}/.mirror`, 'a file, so that nothing can be written');
    await mkdir(`${archive}/repositories`);
    const blocked = await mirrorSync(['serve', archive, '--config', config, '--listen', '127.0.0.1:0']);
    expect(blocked.code).toBe(2);
    expect(blocked.stderr).toMatch(/^mirror-sync serve: write to \S+: .*--config needs write access/);
    await writeFile(config, 'version: 1\n');
    const wrong = await mirrorSync(['serve', archive, '--config', config]);
    expect([wrong.code, wrong.stderr]).toEqual([2, expect.stringContaining('mirror.yaml') as string]);
  });
});

await describeWithS3('mirror-sync serve --config and S3', (s3) => {
  test('creates the archive with the first missing image', async () => {
    const bucket = await s3.bucket();
    await using served = await serving(`s3://${bucket}/new`, ['--config', config], s3.env);
    const target = 'docker.io/library/app/manifests/1.0';
    expect(await status(served, target)).toBe(404);
    await expect.poll(() => status(served, target), { timeout: 20_000 }).toBe(200);
    expect((await served.stop()).code).toBe(0);
  });
});
