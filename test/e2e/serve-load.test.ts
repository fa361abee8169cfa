/** Many clients, slow clients and clients that disconnect. `npm run bench -- serve-load` has more of them. */
import { existsSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { openFilesBelow, peakOf, pullByMany, readStart } from '../kit/clients.ts';
import { mirrorSync, summaryOf } from '../kit/command-line.ts';
import { makeImage, makeLayer } from '../kit/images.ts';
import { startRegistry, type TestRegistry } from '../kit/registry.ts';
import { describeWithS3 } from '../kit/s3-suite.ts';
import { type Serving, serving } from '../kit/serving.ts';
import { skippedFor } from '../kit/skipped.ts';
import { tempFolder, type TempFolder } from '../kit/temp.ts';

const MiB = 1024 * 1024;
const CLIENTS = 50;
const LAYERS = [1, 2].map((seed) => makeLayer({ seed, size: 4 * MiB, compression: 'none' }));
const IMAGE = makeImage({ layers: LAYERS });
/** More than the buffers of the kernel for one connection. */
const LARGE = makeLayer({ seed: 3, size: 24 * MiB, compression: 'none' });

let registry: TestRegistry;
let folder: TempFolder;
let name: string;
beforeAll(async () => {
  [registry, folder] = await Promise.all([startRegistry(), tempFolder()]);
  registry.push('team/app', IMAGE, '1');
  registry.push('team/app', makeImage({ layers: [LARGE] }), 'large');
  name = `${registry.host.replace(':', '_')}/team/app`;
});
afterAll(async () => {
  await registry.close();
  await folder.remove();
});

async function mirrorTo(archive: string, env: Readonly<Record<string, string>> = {}): Promise<void> {
  const synced = await mirrorSync(['sync', `${registry.host}/team/app`, '--all-tags', '--to', archive, '--json'], env);
  expect(summaryOf(synced)).toMatchObject({ mirrored: 2, failed: 0 });
}

const pidOf = ({ running }: Serving): number => running.process.pid!;

/** Pulls with one client and then with many, and resolves to the growth of the server's peak memory. */
async function growth(served: Serving): Promise<number> {
  await pullByMany(1, served.host, name, '1');
  const before = await peakOf(pidOf(served));
  const bytes = await pullByMany(CLIENTS, served.host, name, '1');
  expect(bytes).toBeGreaterThan(CLIENTS * 8 * MiB);
  return (await peakOf(pidOf(served))) - before;
}

/** Opens connections that read only the start of a blob. */
async function slowClients(served: Serving): Promise<readonly { destroy(): unknown }[]> {
  const path = `/v2/${name}/blobs/${LARGE.digest}`;
  return await Promise.all(Array.from({ length: CLIENTS }, () => readStart(served.host, path)));
}

if (!existsSync('/proc/self/fd'))
  describe('a served archive', () => {
    skippedFor('needs Linux, which lists the open files of a process');
  });
else {
  describe('a folder that is served', () => {
    let archive: string;
    beforeAll(async () => {
      archive = folder.join('archive');
      await mirrorTo(archive);
    });

    test(`sends an image to ${CLIENTS} clients at once, and its memory stays flat`, async () => {
      await using served = await serving(archive);
      expect(await growth(served)).toBeLessThan(100 * MiB);
    });

    test('holds no file and no memory for clients that read slowly and disconnect', async () => {
      await using served = await serving(archive);
      await pullByMany(1, served.host, name, '1');
      const before = await peakOf(pidOf(served));
      const sockets = await slowClients(served);
      expect(await openFilesBelow(pidOf(served), archive)).toHaveLength(CLIENTS);
      // Others are served meanwhile.
      await pullByMany(1, served.host, name, '1');
      for (const socket of sockets) socket.destroy();
      await vi.waitFor(async () => expect(await openFilesBelow(pidOf(served), archive)).toEqual([]), 10_000);
      expect((await peakOf(pidOf(served))) - before).toBeLessThan(100 * MiB);
      const { stdout } = await served.stop();
      expect(stdout.match(/ interrupted /g)).toHaveLength(CLIENTS);
    });
  });

  await describeWithS3('an archive in S3 that is served', (server) => {
    let archive: string;
    beforeAll(async () => {
      archive = `s3://${await server.bucket()}/archive`;
      await mirrorTo(archive, server.env);
    });

    test(`sends an image to ${CLIENTS} clients at once through redirects, and its memory stays flat`, async () => {
      await using served = await serving(archive, [], server.env);
      expect(await growth(served)).toBeLessThan(100 * MiB);
    });

    test('holds no connection to S3 for clients that read slowly and disconnect', async () => {
      await using served = await serving(archive, ['--proxy-blobs'], server.env);
      // More clients than the S3 client has connections: without their release, the last pull waits for ever.
      for (let round = 0; round < 2; round += 1) {
        const sockets = await slowClients(served);
        for (const socket of sockets) socket.destroy();
      }
      await pullByMany(2, served.host, name, '1');
      const { stdout } = await served.stop();
      expect(stdout.match(/ interrupted /g)).toHaveLength(2 * CLIENTS);
    });
  });
}
