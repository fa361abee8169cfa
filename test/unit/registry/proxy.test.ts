import { describe, expect, test } from 'vitest';
import { proxyFor, proxyFrom } from '../../../lib/registry/http/proxy.ts';
import { createSources } from '../../../lib/registry/sources.ts';
import { makeImage } from '../../kit/images.ts';
import { startProxy, startSocksProxy } from '../../kit/proxy.ts';
import { startRegistry } from '../../kit/registry.ts';

describe('a proxy', () => {
  test('is used for other machines and never for loopback', async () => {
    await using registry = await startRegistry();
    await using proxy = await startProxy(registry.port);
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
    await using proxy = await startProxy(registry.port);
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

describe('a tunnel', () => {
  const image = makeImage();

  async function resolveThrough(proxy: string, insecure: readonly string[], host: string): Promise<string> {
    const sources = createSources({
      insecure: [...insecure],
      proxy: { http: proxy, https: proxy },
      retry: { tries: 1, baseMs: 1, capMs: 1 },
    });
    try {
      return (await sources.repository({ host, path: 'team/app' }).resolve('v1')).digest;
    } finally {
      await sources.close();
    }
  }

  test('leads to a registry that speaks TLS', async () => {
    await using registry = await startRegistry({ tls: true });
    await using proxy = await startProxy(registry.port);
    registry.push('team/app', image, 'v1');
    expect(await resolveThrough(proxy.url, ['registry.invalid'], 'registry.invalid')).toBe(image.digest);
    expect(proxy.asked).toEqual(['CONNECT registry.invalid:443']);
  });

  test.each([true, false])('through a SOCKS proxy leads to a registry, with TLS: %s', async (tls) => {
    await using registry = await startRegistry({ tls });
    await using proxy = await startSocksProxy(registry.port);
    registry.push('team/app', image, 'v1');
    const address = proxy.url.replace('//', '//us%2Fer:pass%40word@');
    expect(await resolveThrough(address, ['r.invalid:5000'], 'r.invalid:5000')).toBe(image.digest);
    expect(new Set(proxy.asked)).toEqual(new Set(['SOCKS us/er@r.invalid:5000']));
  });

  test.each([400, 403, 405])(
    'that a proxy refuses with %i leads to plain HTTP for an insecure host',
    async (status) => {
      await using registry = await startRegistry();
      await using proxy = await startProxy(registry.port, status);
      registry.push('team/app', image, 'v1');
      expect(await resolveThrough(proxy.url, ['registry.invalid:5000'], 'registry.invalid:5000')).toBe(image.digest);
      expect(proxy.asked.slice(0, 2)).toEqual(['CONNECT registry.invalid:5000', 'http://registry.invalid:5000']);
    },
  );

  test.each([
    [403, []],
    [407, ['registry.invalid']],
    [502, ['registry.invalid']],
  ])('that a proxy refuses with %i never leads to plain HTTP, with insecure hosts %j', async (status, insecure) => {
    await using registry = await startRegistry();
    await using proxy = await startProxy(registry.port, status);
    await expect(resolveThrough(proxy.url, insecure, 'registry.invalid')).rejects.toThrow(
      `registry.invalid through proxy ${new URL(proxy.url).host}: the proxy answered ${status}`,
    );
    expect(new Set(proxy.asked)).toEqual(new Set(['CONNECT registry.invalid:443']));
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
    await using proxy = await startProxy(registry.port);
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

  test.each([
    ['ftp://user:hunter2@proxy:1', 'unknown scheme ftp://'],
    ['socks4://user:hunter2@proxy:1', 'unknown scheme socks4://'],
    ['http://user:hunter2@proxy:99999', 'not a URL'],
    ['http://user:hun/ter2@proxy:1', 'not a URL'],
    ['user:hunter2@', 'not a URL'],
    ['socks5://', 'not a URL'],
    ['http://user:hunter2%@proxy:1', 'write %25'],
    ['http://us%er:hunter2@proxy:1', 'write %25'],
    ['http://user:hunter2%ff@proxy:1', 'write %25'],
  ])('%s is refused without its password', (address, reason) => {
    const refusal = (given: object): string => {
      try {
        return proxyFor(https, given) ?? 'none';
      } catch (error) {
        return (error as Error).message;
      }
    };
    expect(refusal({ https: address })).toMatch(/^use the proxy of HTTPS_PROXY: /);
    expect(refusal({ https: address })).toContain(reason);
    expect(refusal({ http: address })).toMatch(/^use the proxy of HTTP_PROXY: /);
    expect(refusal({ https: address })).not.toMatch(/hun|us%/);
    expect(proxyFor(https, { https: address, except: '*' })).toBeUndefined();
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
    await using proxy = await startProxy(1, 407);
    const { message } = await failing(proxy.url);
    const { host } = new URL(proxy.url);
    expect(message).toContain(`registry.invalid through proxy ${host}: the proxy answered 407; add user:`);
  });
});
