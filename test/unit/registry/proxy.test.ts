import { once } from 'node:events';
import { createServer, request, type Server } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { describe, expect, test } from 'vitest';
import { proxyFrom } from '../../../lib/registry/proxy.ts';
import { createSources } from '../../../lib/registry/sources.ts';
import { makeImage } from '../../kit/images.ts';
import { startRegistry, type TestRegistry } from '../../kit/registry.ts';

/** A proxy that takes every host for the one registry, and remembers what it was asked for. */
interface TestProxy extends AsyncDisposable {
  readonly url: string;
  readonly asked: string[];
}

async function startProxy(registry: TestRegistry): Promise<TestProxy> {
  const asked: string[] = [];
  const sockets = new Set<Socket>();
  const server: Server = createServer((incoming, outgoing) => {
    // Plain HTTP is asked for with the whole address (RFC 9112, section 3.2.2).
    const { origin, pathname } = new URL(incoming.url ?? '');
    asked.push(origin);
    const { method, headers } = incoming;
    const forwarded = request({
      host: '127.0.0.1',
      port: registry.host.split(':')[1],
      method,
      path: pathname,
      headers,
    });
    forwarded.once('response', (reply) => {
      outgoing.writeHead(reply.statusCode ?? 500, reply.headers);
      reply.pipe(outgoing);
    });
    incoming.pipe(forwarded);
  });
  server.on('connection', (socket) => sockets.add(socket));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    asked,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

describe('a proxy', () => {
  // A registry that only the proxy can reach is read through it; one on this machine is not, whatever is set.
  test('is used for other machines and never for loopback', async () => {
    await using registry = await startRegistry();
    await using proxy = await startProxy(registry);
    const image = makeImage();
    registry.push('team/app', image, 'v1');
    const sources = createSources({
      endpoints: { 'registry.invalid': ['http://registry.invalid'] },
      proxy: proxyFrom({ HTTP_PROXY: proxy.url }),
    });
    try {
      const remote = sources.repository({ host: 'registry.invalid', path: 'team/app' });
      expect((await remote.resolve('v1')).digest).toBe(image.digest);
      expect(proxy.asked).toEqual(['http://registry.invalid']);
      const local = sources.repository({ host: registry.host, path: 'team/app' });
      expect((await local.resolve('v1')).digest).toBe(image.digest);
      expect(proxy.asked).toHaveLength(1);
    } finally {
      await sources.close();
    }
  });

  // What NO_PROXY names is reached directly: here, a name that does not exist, which only the proxy would have taken.
  test('is not used for what NO_PROXY names', async () => {
    await using registry = await startRegistry();
    await using proxy = await startProxy(registry);
    const sources = createSources({
      endpoints: { 'registry.invalid': ['http://registry.invalid'] },
      proxy: proxyFrom({ HTTP_PROXY: proxy.url, NO_PROXY: 'example.com,registry.invalid' }),
      retry: { tries: 1, baseMs: 1, capMs: 1 },
    });
    try {
      const remote = sources.repository({ host: 'registry.invalid', path: 'team/app' });
      await expect(remote.resolve('v1')).rejects.toMatchObject({ code: 'network' });
      expect(proxy.asked).toEqual([]);
    } finally {
      await sources.close();
    }
  });

  test.for([
    [{}, undefined],
    [{ HTTPS_PROXY: '' }, undefined],
    [{ NO_PROXY: '*' }, undefined],
    [{ HTTPS_PROXY: 'http://p:1' }, { http: undefined, https: 'http://p:1', except: undefined }],
    [
      { http_proxy: 'http://low:1', HTTP_PROXY: 'http://UP:1', no_proxy: 'a,b' },
      { http: 'http://low:1', https: undefined, except: 'a,b' },
    ],
  ] as const)('the environment %j names %j', ([env, proxy]) => {
    expect(proxyFrom(env)).toEqual(proxy);
  });
});
