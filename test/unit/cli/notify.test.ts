/** `sync --notify`: one signed request per run. */
import { join } from 'node:path';
import { beforeEach, expect, onTestFinished, test } from 'vitest';
import { serveHttp } from '../../kit/http-server.ts';
import { makeImage } from '../../kit/images.ts';
import { runMain } from '../../kit/in-process.ts';
import type { TestRegistry } from '../../kit/registry.ts';
import { openScene } from '../../kit/scene.ts';

const KEY = 'a key of more than 24 characters';

const { verify } = (await import(join(import.meta.dirname, '../../../examples/verify-notification.js'))) as {
  verify: (headers: object, body: string, key: string) => boolean;
};

let registry: TestRegistry;
let archive: string;
let received: unknown[];
let status: number;
let url: string;

beforeEach(async () => {
  ({ registry, archive } = await openScene());
  [received, status] = [[], 200];
  const server = await serveHttp(({ headers, body }) => {
    expect(verify(headers, body, KEY)).toBe(true);
    received.push(JSON.parse(body));
    return [status];
  });
  onTestFinished(() => server[Symbol.asyncDispose]());
  url = `http://${server.host}/hook`;
});

const sync = (...options: string[]): ReturnType<typeof runMain> =>
  runMain(['sync', `${registry.host}/team/app:1`, '--to', archive, '--notify', url, ...options], {
    env: { MIRROR_SYNC_NOTIFY_KEY: KEY },
  });

test('a run sends one summary, also if nothing has changed', async () => {
  registry.push('team/app', makeImage(), '1');
  expect((await sync()).code).toBe(0);
  expect((await sync()).code).toBe(0);
  const data = { by: 'sync', outcome: 'finished', moved: 0, repositories: 1 };
  expect(received).toMatchObject([
    { type: 'run.finished', data: { ...data, counts: { mirrored: 1, unchanged: 0, failed: 0 } } },
    { type: 'run.finished', data: { ...data, counts: { mirrored: 0, unchanged: 1, failed: 0 }, images: [] } },
  ]);
});

test.for([[], ['--quiet']])('a refused summary is a warning with the options %j, and exit code 0', async (options) => {
  registry.push('team/app', makeImage(), '1');
  status = 403;
  const { code, stderr } = await sync(...options);
  expect(code).toBe(0);
  expect(stderr).toMatch(
    /^\S+ the summary of the run was not sent: notify http:\/\/127[^/]*: expected status 2xx, got 403\n$/,
  );
});
