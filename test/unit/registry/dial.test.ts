import dns from 'node:dns';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { zoneOf, zoneOfText } from '../../../lib/registry/http/addresses.ts';
import { DialGuard, RefusedAddress, type DialLimit } from '../../../lib/registry/http/dial.ts';
import type { Failure } from '../../../lib/core/failure.ts';

afterEach(() => vi.restoreAllMocks());

describe('the zone of an address', () => {
  test.each([
    ['169.254.169.254', 'metadata'],
    ['169.254.170.2', 'metadata'],
    ['168.63.129.16', 'metadata'],
    ['100.100.100.200', 'metadata'],
    ['fd00:ec2::254', 'metadata'],
    ['fd00:ec2::23', 'metadata'],
    ['fd20:ce::254', 'metadata'],
    ['127.0.0.1', 'machine'],
    ['127.255.0.9', 'machine'],
    ['0.0.0.0', 'machine'],
    ['0.1.2.3', 'machine'],
    ['::', 'machine'],
    ['::1', 'machine'],
    ['10.0.0.5', 'network'],
    ['172.16.0.1', 'network'],
    ['172.31.255.255', 'network'],
    ['192.168.1.1', 'network'],
    ['100.64.0.1', 'network'],
    ['169.254.1.1', 'network'],
    ['198.18.0.1', 'network'],
    ['255.255.255.255', 'network'],
    ['fc00::1', 'network'],
    ['fdff::1', 'network'],
    ['fe80::1', 'network'],
    ['fe80::1%eth0', 'network'],
    ['ff02::1', 'network'],
    ['8.8.8.8', 'public'],
    ['172.32.0.1', 'public'],
    ['100.128.0.1', 'public'],
    ['2606:4700::1111', 'public'],
  ])('of %s is %s', (address, zone) => {
    expect(zoneOf(address)).toBe(zone);
  });

  test.each([
    ['::ffff:0:0', 'machine'],
    ['::ffff:127.0.0.1', 'machine'],
    ['::ffff:169.254.169.254', 'metadata'],
    ['::ffff:10.1.2.3', 'network'],
    ['::ffff:8.8.8.8', 'public'],
    ['::127.0.0.1', 'machine'],
    ['::ffff:0:127.0.0.1', 'machine'],
    ['64:ff9b::a9fe:a9fe', 'metadata'],
    ['64:ff9b::7f00:1', 'machine'],
    ['64:ff9b::808:808', 'public'],
    ['64:ff9b:1::808:808', 'network'],
    ['2002:a9fe:a9fe::1', 'metadata'],
    ['2002:7f00:1::', 'machine'],
    ['2002:808:808::1', 'public'],
    // Teredo: the client's address is inverted.
    ['2001:0:808:808:0:0:80ff:fffe', 'machine'],
    ['2001:0:a00:1::f7f7:f7f7', 'network'],
    ['fe80::5efe:127.0.0.1', 'machine'],
    ['2606:4700::200:5efe:10.0.0.1', 'network'],
  ])('of %s is that of the embedded address %s', (address, zone) => {
    expect(zoneOf(address)).toBe(zone);
  });
});

test.each([
  ['http://2852039166/', 'metadata'],
  ['http://0xa9fea9fe/', 'metadata'],
  ['http://0251.0376.0251.0376/', 'metadata'],
  ['http://169.254.169.254./', 'metadata'],
  ['http://metadata.google.internal/', 'metadata'],
  ['http://METADATA.google.internal./', 'metadata'],
  ['http://[::ffff:169.254.169.254]/', 'metadata'],
  ['http://127.1/', 'machine'],
  ['http://localhost/', 'machine'],
  ['http://LOCALHOST./', 'machine'],
  ['http://a.localhost/', 'machine'],
  ['http://a.localhost../', 'machine'],
  ['http://localhost.localdomain/', 'machine'],
  ['http://[::]/', 'machine'],
  ['http://１２７.0.0.1/', 'machine'],
  ['http://10.0.0.5/', 'network'],
  ['http://[2001:db8::1]/', 'public'],
  ['http://cdn.example.com/', undefined],
  ['http://127.0.0.1.example.com/', undefined],
])('the text of %s states the zone %s', (url, zone) => {
  expect(zoneOfText(new URL(url).hostname)).toBe(zone);
});

interface Scene {
  readonly endpoints?: readonly string[];
  readonly privateAddresses?: boolean;
  /** The addresses of names; undici requests all addresses at once. */
  readonly names?: Readonly<Record<string, readonly string[]>>;
}

/** A guard with its own resolver. */
function scene({ endpoints = ['https://reg.test'], privateAddresses = false, names = {} }: Scene) {
  vi.spyOn(dns, 'lookup').mockImplementation(((
    hostname: string,
    _: dns.LookupOptions,
    callback: (error: Error | null, addresses: dns.LookupAddress[]) => void,
  ) => {
    const addresses = names[hostname] ?? [];
    callback(
      null,
      addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 })),
    );
  }) as unknown as typeof dns.lookup);
  const guard = new DialGuard({ endpoints: endpoints.map((url) => new URL(url)), privateAddresses });
  const resolve = (hostname: string, reach: DialLimit): Promise<readonly string[]> =>
    new Promise((done, refuse) => {
      guard.lookup(reach)(hostname, { all: true }, (error, addresses) => {
        if (error !== null) refuse(error);
        else done((addresses as dns.LookupAddress[]).map(({ address }) => address));
      });
    });
  /** Dials a URL as undici does: names are resolved, literal addresses are not. */
  const dial = async (url: string, namedBy?: string): Promise<void> => {
    const target = new URL(url);
    const by = namedBy === undefined ? undefined : new URL(namedBy);
    const reach = guard.reach({ url: target, namedBy: by }, 'get blob b');
    if (zoneOfText(target.hostname) === undefined) await resolve(target.hostname, reach);
  };
  return { guard, resolve, dial };
}

const REFUSED = { code: 'denied', remedy: 'never', side: 'source' };

describe('a registry on the internet', () => {
  const names = { 'reg.test': ['203.0.113.1'], 'cdn.test': ['203.0.113.2'], 'in.test': ['203.0.113.3', '127.0.0.1'] };

  test.each([
    'http://[::ffff:0:0]:9001/2018-06-01/runtime/invocation/next',
    'http://127.0.0.1:9001/',
    'http://localhost./',
    'http://10.0.0.5/x',
    'http://[fd00::1]/',
    'http://169.254.169.254/latest/meta-data/',
  ])('cannot lead to the literal address %s', async (url) => {
    const { dial } = scene({ names });
    await dial('https://reg.test/v2/');
    for (const namedBy of ['https://reg.test/v2/', undefined])
      await expect(dial(url, namedBy)).rejects.toMatchObject(REFUSED);
  });

  test('cannot lead to a name with an address of this machine', async () => {
    const { dial } = scene({ names });
    await dial('https://reg.test/v2/');
    await expect(dial('https://in.test/', 'https://reg.test/v2/')).rejects.toBeInstanceOf(RefusedAddress);
    await expect(dial('https://in.test/')).rejects.toBeInstanceOf(RefusedAddress);
  });

  test('may lead to other addresses on the internet', async () => {
    const { dial } = scene({ names });
    await dial('https://reg.test/v2/');
    await dial('https://cdn.test/', 'https://reg.test/v2/');
    await dial('https://[2606:4700::1]/', 'https://reg.test/v2/');
  });

  test('gets no further permission from a later DNS response', async () => {
    const changing: Record<string, readonly string[]> = { 'reg.test': ['203.0.113.1'] };
    const { dial } = scene({ names: changing });
    await dial('https://reg.test/v2/');
    changing['reg.test'] = ['127.0.0.1'];
    await dial('https://reg.test/v2/');
    await expect(dial('http://reg.test:9001/', 'https://reg.test/v2/')).rejects.toBeInstanceOf(RefusedAddress);
  });

  // Split DNS and interface endpoints of clouds have public names with private addresses.
  test('may lead to private networks with the setting, but not to this machine', async () => {
    const { dial } = scene({ names: { ...names, 's3.test': ['10.0.0.9'] }, privateAddresses: true });
    await dial('https://reg.test/v2/');
    await dial('https://s3.test/', 'https://reg.test/v2/');
    await dial('https://10.0.0.9/', 'https://reg.test/v2/');
    await expect(dial('https://127.0.0.1/', 'https://reg.test/v2/')).rejects.toMatchObject(REFUSED);
    await expect(dial('http://169.254.169.254/', 'https://reg.test/v2/')).rejects.toMatchObject(REFUSED);
    await expect(dial('https://in.test/', 'https://reg.test/v2/')).rejects.toBeInstanceOf(RefusedAddress);
  });
});

test('a registry in a private network may lead to its neighbours, but not to this machine', async () => {
  const { dial } = scene({ names: { 'reg.test': ['10.0.0.1'], 'minio.test': ['10.0.0.2'] } });
  await dial('https://reg.test/v2/');
  await dial('https://minio.test/', 'https://reg.test/v2/');
  await dial('https://10.0.0.2/', 'https://reg.test/v2/');
  await expect(dial('https://127.0.0.1/', 'https://reg.test/v2/')).rejects.toMatchObject(REFUSED);
});

test('a registry on loopback may lead to any address except metadata services', async () => {
  const { dial } = scene({ endpoints: ['http://localhost:5000'], names: { 'minio.test': ['127.0.0.1'] } });
  for (const url of ['http://127.0.0.1:9000/', 'http://10.0.0.2/', 'http://minio.test/', 'https://cdn.test/'])
    await dial(url, 'http://localhost:5000/v2/');
  for (const url of ['http://169.254.169.254/', 'http://[::ffff:a9fe:a9fe]/', 'http://metadata.google.internal/'])
    await expect(dial(url, 'http://localhost:5000/v2/')).rejects.toMatchObject(REFUSED);
  const trick = scene({ endpoints: ['http://localhost:5000'], names: { 'm.test': ['169.254.169.254'] } });
  await expect(trick.dial('http://m.test/', 'http://localhost:5000/v2/')).rejects.toBeInstanceOf(RefusedAddress);
});

// Documents may come from any of the endpoints.
test('the documents of a registry with an endpoint on the internet cannot lead to this machine', async () => {
  const { dial } = scene({ endpoints: ['http://127.0.0.1:5000', 'https://reg.test'] });
  await expect(dial('http://127.0.0.1:9001/')).rejects.toMatchObject(REFUSED);
});

test('a host on the internet cannot lead to this machine, even if a registry on loopback has redirected to it', async () => {
  const { dial } = scene({ endpoints: ['http://localhost:5000'], names: { 'cdn.test': ['203.0.113.2'] } });
  await dial('https://cdn.test/', 'http://localhost:5000/v2/');
  await expect(dial('http://127.0.0.1:9001/', 'https://cdn.test/')).rejects.toMatchObject(REFUSED);
});

test('only the text of an address is judged behind a proxy, which resolves names', () => {
  const { guard } = scene({});
  const namedBy = new URL('https://reg.test/');
  expect(guard.reach({ url: new URL('https://cdn.test/'), namedBy }, 'o')).toBe('public');
  const asked = (): unknown => guard.reach({ url: new URL('http://metadata.google.internal/'), namedBy }, 'o');
  expect(asked).toThrow('metadata.google.internal, an address of this machine or a private network');
});

test('configured endpoints are dialled at any address', async () => {
  const { guard, resolve } = scene({ endpoints: ['https://reg.test'], names: { 'reg.test': ['127.0.0.1'] } });
  expect(guard.reach({ url: new URL('https://reg.test/v2/') }, 'o')).toBe('own');
  expect(await resolve('reg.test', 'own')).toEqual(['127.0.0.1']);
});

test('an unknown name is reported with the error of the resolver', async () => {
  const { resolve } = scene({});
  const error = Object.assign(new Error('getaddrinfo ENOTFOUND gone.test'), { code: 'ENOTFOUND' });
  vi.spyOn(dns, 'lookup').mockImplementation(((_: string, __: object, callback: (error: Error) => void) => {
    callback(error);
  }) as unknown as typeof dns.lookup);
  await expect(resolve('gone.test', 'public')).rejects.toBe(error);
});

// k3d and others use such names, and not every resolver implements RFC 6761.
test('names below localhost need no resolver', async () => {
  const { resolve } = scene({});
  expect(await resolve('registry.localhost', 'own')).toEqual(['127.0.0.1', '::1']);
});

test('the failure names both hosts and the setting', () => {
  const { guard } = scene({});
  const namedBy = new URL('https://reg.test/v2/');
  let failure: Failure | undefined;
  try {
    guard.reach({ url: new URL('http://10.0.0.5/x?sig=secret'), namedBy }, 'get blob b');
  } catch (thrown) {
    failure = thrown as Failure;
  }
  expect(failure?.message).toBe(
    'get blob b: reg.test refers to 10.0.0.5, an address of this machine or a private network; to allow private networks, set privateAddresses: true for the registry',
  );
});
