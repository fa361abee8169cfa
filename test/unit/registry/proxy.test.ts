import { once } from 'node:events';
import { createServer, request, type Server } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { describe, expect, test } from 'vitest';
import { proxyFor, proxyFrom } from '../../../lib/registry/http/proxy.ts';
import { createSources } from '../../../lib/registry/sources.ts';
import { makeImage } from '../../kit/images.ts';
import { startRegistry, type TestRegistry } from '../../kit/registry.ts';

/** A proxy that sends every host to the same registry, and records its requests. */
interface TestProxy extends AsyncDisposable {
  readonly url: string;
  readonly asked: string[];
}

async function startProxy(registry: TestRegistry): Promise<TestProxy> {
  const asked: string[] = [];
  const sockets = new Set<Socket>();
  const server: Server = createServer((incoming, outgoing) => {
    // A request in plain HTTP to a proxy has the absolute URL (RFC 9112, section 3.2.2).
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

  // The name does not exist, and only the proxy would have accepted it.
  test('is not used for hosts in NO_PROXY', async () => {
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
  ] as const)('is found in the environment %j: %j', ([env, proxy]) => {
    expect(proxyFrom(env)).toEqual(proxy);
  });
});

describe('NO_PROXY', () => {
  const goesDirectly = (except: string, url: string): boolean =>
    proxyFor(new URL(url), { http: 'http://p:1', https: 'http://p:1', except }) === undefined;

  test.each([
    ['0.0.0.0/8', 'http://0.0.0.0:5000/'],
    ['10.0.0.0/8', 'https://10.1.2.3/'],
    ['10.0.0.0/8', 'https://[::ffff:10.1.2.3]/'],
    ['192.168.1.16/28', 'https://192.168.1.31/'],
    ['10.1.2.3/32', 'https://10.1.2.3/'],
    ['0.0.0.0/0', 'https://8.8.8.8/'],
    ['fd00::/8', 'https://[fd12:3456::1]/'],
    ['[fd00::]/8', 'https://[fd12:3456::1]/'],
    ['2001:db8::1', 'https://[2001:db8:0:0::1]:5000/'],
    ['[2001:db8::1]', 'https://[2001:db8::1]/'],
    ['[2001:db8::1]:5000', 'https://[2001:db8::1]:5000/'],
    ['10.1.2.3', 'https://10.1.2.3:5000/'],
    ['10.1.2.3:5000', 'https://10.1.2.3:5000/'],
    ['*', 'https://r.example/'],
    ['a.example, *', 'https://r.example/'],
    ['example.com', 'https://example.com/'],
    ['example.com', 'https://a.b.example.com:5000/'],
    ['.example.com', 'https://a.example.com/'],
    ['.example.com', 'https://example.com/'],
    ['*.example.com', 'https://a.example.com/'],
    ['EXAMPLE.com', 'https://example.com/'],
    ['example.com.', 'https://example.com/'],
    ['example.com', 'https://example.com./'],
    ['example.com:443', 'https://example.com/'],
    ['example.com:80', 'http://example.com/'],
    ['example.com:5000', 'https://example.com:5000/'],
    ['a.example\tb.example c.example', 'https://c.example/'],
  ])('with %j covers %s', (except, url) => {
    expect(goesDirectly(except, url)).toBe(true);
  });

  test.each([
    ['', 'https://example.com/'],
    [',', 'https://example.com/'],
    ['.', 'https://example.com/'],
    ['10.0.0.0/8', 'https://11.0.0.1/'],
    ['10.0.0.0/8', 'https://10.example.com/'],
    ['10.0.0.0/33', 'https://10.0.0.1/'],
    ['10.0.0.0/x', 'https://10.0.0.0/'],
    ['example.com/8', 'https://example.com/'],
    ['fd00::/8', 'https://[fe00::1]/'],
    ['fd00::/8', 'https://10.0.0.1/'],
    ['2001:db8::1', 'https://[2001:db8::2]/'],
    ['10.1.2.3:5000', 'https://10.1.2.3/'],
    ['[2001:db8::1]:5000', 'https://[2001:db8::1]/'],
    ['*.example.com', 'https://example.com/'],
    ['example.com', 'https://notexample.com/'],
    ['example.com:5000', 'https://example.com/'],
    ['example.com:80', 'https://example.com/'],
  ])('with %j does not cover %s', (except, url) => {
    expect(goesDirectly(except, url)).toBe(false);
  });

  test('covers a range for the requests of a registry', async () => {
    await using registry = await startRegistry();
    await using proxy = await startProxy(registry);
    registry.push('team/app', makeImage(), 'v1');
    const host = registry.host.replace('127.0.0.1', '0.0.0.0');
    for (const [except, asked] of [
      ['0.0.0.0/8', 0],
      ['10.0.0.0/8', 1],
    ] as const) {
      const sources = createSources({
        endpoints: { r: [`http://${host}`] },
        proxy: proxyFrom({ HTTP_PROXY: proxy.url, NO_PROXY: except }),
      });
      try {
        await sources.repository({ host: 'r', path: 'team/app' }).resolve('v1');
      } finally {
        await sources.close();
      }
      expect(proxy.asked).toHaveLength(asked);
    }
  });
});

describe('the proxy for a URL', () => {
  const https = new URL('https://r.example/');
  const http = new URL('http://r.example/');

  test('is that of its scheme, and the one for HTTP as a fallback for HTTPS', () => {
    expect(proxyFor(https, { http: 'http://a:1', https: 'http://b:1' })).toBe('http://b:1');
    expect(proxyFor(http, { http: 'http://a:1', https: 'http://b:1' })).toBe('http://a:1');
    expect(proxyFor(https, { http: 'http://a:1' })).toBe('http://a:1');
    expect(proxyFor(http, { https: 'http://b:1' })).toBeUndefined();
  });

  test('may be written without a scheme', () => {
    expect(proxyFor(https, { https: 'proxy.example:3128' })).toBe('http://proxy.example:3128');
  });
});

describe('an error behind a proxy', () => {
  const failing = (proxy: string) => {
    const sources = createSources({
      proxy: { http: proxy, https: proxy },
      retry: { tries: 1, baseMs: 1, capMs: 1 },
    });
    const resolved = sources.repository({ host: 'registry.invalid', path: 'team/app' }).resolve('v1');
    return resolved
      .then(
        () => expect.fail('it should have failed'),
        (error: unknown) => error as Error,
      )
      .finally(() => sources.close());
  };

  test('names the proxy that refuses connections, without its password', async () => {
    const { message } = await failing('http://user:hunter2@127.0.0.1:1');
    expect(message).toBe(
      'resolve registry.invalid/team/app:v1: registry.invalid through proxy 127.0.0.1:1: the connection was refused',
    );
  });

  test('names the proxy that does not exist', async () => {
    const { message } = await failing('http://proxy.invalid:3128');
    expect(message).toContain('registry.invalid through proxy proxy.invalid:3128: ');
  });

  test('says that the proxy requires credentials', async () => {
    const server = createServer();
    server.on('connect', (_, socket: Socket) => {
      socket.end('HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n');
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const { message } = await failing(`http://127.0.0.1:${port}`);
    expect(message).toContain(`registry.invalid through proxy 127.0.0.1:${port}: the proxy answered 407; set a user`);
    server.closeAllConnections();
    server.close();
  });
});
