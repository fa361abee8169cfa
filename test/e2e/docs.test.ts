/**
 * The shell blocks of the documentation, run as a reader types them, against registries and a bucket on this machine.
 */
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { delimiter } from 'node:path';
import { TLSSocket } from 'node:tls';
import { promisify } from 'node:util';
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { MAIN } from '../kit/command-line.ts';
import { makeImage, makeIndex, makeLayer } from '../kit/images.ts';
import { PAGES, readPage, shellBlocks } from '../kit/pages.ts';
import { startRegistry, type TestRegistry } from '../kit/registry.ts';
import { startS3Server } from '../kit/s3-server.ts';
import { skippedFor } from '../kit/skipped.ts';
import { tempFolder } from '../kit/temp.ts';
import { TLS } from '../kit/tls.ts';

/** A proxy behind which each host is the registry, over TLS. */
async function startProxy(registry: string): Promise<{ readonly url: string } & AsyncDisposable> {
  const sockets = new Set<Socket>();
  const server = createServer();
  server.on('connect', (_request, socket: Socket) => {
    socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
    const decrypted = new TLSSocket(socket, { isServer: true, ...TLS });
    const [host = '', port = ''] = registry.split(':');
    const upstream = connect(Number(port), host);
    for (const each of [socket, decrypted, upstream]) each.on('error', () => undefined);
    sockets.add(socket).add(upstream);
    decrypted.pipe(upstream).pipe(decrypted);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

const BLOCKS = PAGES.flatMap((path) => shellBlocks(readPage(path)).map((block) => ({ path, ...block })));
const RUN = BLOCKS.filter(({ notRun }) => notRun === undefined);

let registry: TestRegistry;
beforeAll(async () => {
  registry = await startRegistry();
  const child = (architecture: string): Parameters<typeof makeIndex>[0][number] =>
    makeImage({ layers: [makeLayer({ seed: architecture.length })], platform: { os: 'linux', architecture } });
  const image = makeIndex([child('amd64'), child('arm64')]);
  for (const repository of ['library/alpine', 'stefanprodan/podinfo', 'pause'])
    for (const tag of ['latest', '3.20', '3.9']) registry.push(repository, image, tag);
});
afterAll(() => registry.close());

const server = await startS3Server();

describe('the shell blocks', () => {
  test('are each run by a test or marked with the reason', () => {
    expect(RUN.map(({ path }) => path)).toContain('README.md');
    for (const { path, line, notRun } of BLOCKS)
      if (notRun !== undefined) expect(notRun.length, `${path}:${line}`).toBeGreaterThan(5);
  });

  if ('skipped' in server) {
    skippedFor(server.skipped);
    return;
  }
  beforeAll(async () => {
    const client = new S3Client({ ...server, forcePathStyle: true });
    await client.send(new CreateBucketCommand({ Bucket: 'bucket' }));
    client.destroy();
  });
  afterAll(() => server.close());

  test.each(RUN)('of $path work as they are written (line $line)', async ({ commands }) => {
    await using folder = await tempFolder();
    await using proxy = await startProxy(registry.host);
    const bin = folder.join('bin');
    await mkdir(bin);
    await writeFile(folder.join('bin/mirror-sync'), `#!/bin/sh\nexec '${process.execPath}' '${MAIN}' "$@"\n`);
    await chmod(folder.join('bin/mirror-sync'), 0o755);
    await writeFile(
      folder.join('mirror.yaml'),
      'version: 1\nmirrors:\n  - source: docker.io/library/alpine\n    tags: [3.20]\n',
    );
    const { stdout } = await promisify(execFile)('bash', ['-euo', 'pipefail', '-c', commands], {
      cwd: folder.path,
      env: {
        ...server.env,
        PATH: [bin, process.env['PATH']].join(delimiter),
        HOME: folder.path,
        HTTPS_PROXY: proxy.url,
        // The registries of the documentation have real certificates, and the proxy does not.
        NODE_TLS_REJECT_UNAUTHORIZED: '0',
        CI: 'true',
      },
    });
    expect(stdout).not.toContain('failed: ');
  });
});
