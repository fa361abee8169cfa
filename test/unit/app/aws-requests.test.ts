import { once } from 'node:events';
import { globSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { GetSecretValueCommand, SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import { afterEach, expect, test, vi } from 'vitest';
import { SMALL_REQUESTS } from '../../../lib/app/aws-requests.ts';

const ROOT = join(import.meta.dirname, '../../..');

afterEach(() => {
  vi.useRealTimers();
});

test('a small request without a response is repeated after 3 s', async () => {
  let requests = 0;
  await using server = createServer((request, response) => {
    requests += 1;
    request.resume();
    if (requests > 1) response.writeHead(200).end(JSON.stringify({ SecretString: 'secret' }));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const client = new SecretsManagerClient({
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    region: 'eu-central-1',
    credentials: { accessKeyId: 'key', secretAccessKey: 'secret' },
    ...SMALL_REQUESTS,
  });
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'], shouldAdvanceTime: true });
  const first = once(server, 'request');
  const read = client.send(new GetSecretValueCommand({ SecretId: 'sample' }));
  await first;
  await vi.advanceTimersByTimeAsync(3_000);
  expect(await read).toMatchObject({ SecretString: 'secret' });
  expect(requests).toBe(2);
  client.destroy();
  server.closeAllConnections();
});

test('each client for small requests has these limits', () => {
  const sources = globSync(['functions/**/*.ts', 'lib/app/**/*.ts'], { cwd: ROOT });
  const clients = sources.flatMap((path) => [
    ...readFileSync(join(ROOT, path), 'utf8').matchAll(/new \w+Client\([^()]*\)/g),
  ]);
  expect(clients.length).toBeGreaterThan(5);
  expect(clients.filter(([text]) => !text.includes('SMALL_REQUESTS'))).toEqual([]);
});
