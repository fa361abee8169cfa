import { BlockList, isIP } from 'node:net';

/**
 * The reach of an address, from the widest to the nearest: the internet, a private or link-local network, this machine,
 * and a cloud's metadata service, which gives the credentials of this machine to every request.
 */
export type Zone = 'public' | 'network' | 'machine' | 'metadata';

const ORDER: readonly Zone[] = ['public', 'network', 'machine', 'metadata'];

/** AWS (instances, tasks, pods), Azure, Google, Oracle, Alibaba, Tencent, Scaleway; most share 169.254.169.0/24. */
const METADATA = blockList(
  ['169.254.169.0/24', '169.254.170.0/24', '168.63.129.16/32', '100.100.100.200/32', '192.0.0.192/32'],
  ['fd00:ec2::/32', 'fd20:ce::254/128', 'fd00:c1::a9fe:a9fe/128', 'fd00:42::42/128'],
);

/** The names of the same services; a proxy would resolve them. */
const METADATA_NAMES = new Set([
  'metadata',
  'metadata.goog',
  'metadata.google.internal',
  'instance-data',
  'instance-data.ec2.internal',
  'metadata.tencentyun.com',
]);

/** Loopback, and 0.0.0.0/8 and ::, which the kernel connects to loopback. */
const MACHINE = blockList(['127.0.0.0/8', '0.0.0.0/8'], ['::/127']);

/** IANA's special-purpose registries: private, shared (CGNAT), link-local, benchmarking, multicast and reserved ranges. */
const NETWORK = blockList(
  [
    ...['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', '100.64.0.0/10', '169.254.0.0/16'],
    ...['192.0.0.0/24', '198.18.0.0/15', '224.0.0.0/4', '240.0.0.0/4'],
  ],
  ['fc00::/7', 'fe80::/10', 'fec0::/10', 'ff00::/8', '64:ff9b:1::/48'],
);

/** The zone of an IPv4 or IPv6 address: the nearest zone of the address itself and of the IPv4 addresses it embeds. */
export function zoneOf(address: string): Zone {
  const bare = address.replace(/^\[(.*)\]$/, '$1').replace(/%.*$/, '');
  return isIP(bare) === 6 ? nearest([zoneIn(bare, 'ipv6'), ...embedded(bare).map(zoneOf)]) : zoneIn(bare, 'ipv4');
}

/** The zone of a URL's hostname; undefined for a name that must be resolved first. */
export function zoneOfText(hostname: string): Zone | undefined {
  const name = withoutDots(hostname);
  if (METADATA_NAMES.has(name)) return 'metadata';
  if (isLoopback(name)) return 'machine';
  return isIP(name.replace(/^\[(.*)\]$/, '$1')) === 0 ? undefined : zoneOf(name);
}

/** Whether a URL's hostname is a loopback address or name; RFC 6761 reserves `*.localhost`. */
export function isLoopback(hostname: string): boolean {
  const name = withoutDots(hostname);
  return isLocalhost(name) || name === '[::1]' || /^127(\.\d{1,3}){3}$/.test(name);
}

export function isLocalhost(hostname: string): boolean {
  return /(^|\.)localhost\.*$/i.test(hostname) || /^localhost\.localdomain\.*$/i.test(hostname);
}

export function nearest(zones: readonly Zone[]): Zone {
  return zones.reduce((one, other) => (isWithin(one, other) ? other : one), 'public');
}

export function widest(zones: readonly Zone[]): Zone {
  return zones.reduce((one, other) => (isWithin(one, other) ? one : other), 'metadata');
}

/** Whether `zone` is no nearer than `limit`. */
export function isWithin(zone: Zone, limit: Zone): boolean {
  return ORDER.indexOf(zone) <= ORDER.indexOf(limit);
}

/** Removes the trailing dots of a fully qualified name. */
function withoutDots(hostname: string): string {
  return hostname.toLowerCase().replace(/\.+$/, '');
}

function zoneIn(address: string, family: 'ipv4' | 'ipv6'): Zone {
  if (METADATA.check(address, family)) return 'metadata';
  if (MACHINE.check(address, family)) return 'machine';
  return NETWORK.check(address, family) ? 'network' : 'public';
}

/**
 * The IPv4 addresses to which a network may translate an IPv6 address: mapped, translated and compatible forms (RFC 4291,
 * RFC 6052), NAT64, 6to4, Teredo (which inverts the client's address) and ISATAP.
 */
function embedded(address: string): string[] {
  const groups = groupsOf(address);
  const [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, g = 0, h = 0] = groups;
  const last = dotted(g, h);
  const zero = (from: number, to: number): boolean => groups.slice(from, to).every((group) => group === 0);
  if (zero(0, 6)) return a + g === 0 && h <= 1 ? [] : [last];
  if (zero(0, 5) && f === 0xffff) return [last];
  if (zero(0, 4) && e === 0xffff && f === 0) return [last];
  if (a === 0x64 && b === 0xff9b) return [last];
  if (a === 0x2002) return [dotted(b, c)];
  if (a === 0x2001 && b === 0) return [dotted(c, d), dotted(g ^ 0xffff, h ^ 0xffff)];
  return (e === 0 || e === 0x200) && f === 0x5efe ? [last] : [];
}

/** The eight groups of an IPv6 address. URLs write it in its canonical form, without dots. */
function groupsOf(address: string): number[] {
  const [head = '', tail] = new URL(`http://[${address}]`).hostname.slice(1, -1).split('::');
  const numbers = (text: string): number[] => (text === '' ? [] : text.split(':').map((group) => parseInt(group, 16)));
  const [before, after] = [numbers(head), numbers(tail ?? '')];
  return [...before, ...Array<number>(8 - before.length - after.length).fill(0), ...after];
}

function dotted(high: number, low: number): string {
  return [high >> 8, high & 0xff, low >> 8, low & 0xff].join('.');
}

function blockList(ipv4: readonly string[], ipv6: readonly string[]): BlockList {
  const list = new BlockList();
  const add = (family: 'ipv4' | 'ipv6') => (range: string) => {
    const [network = '', bits] = range.split('/');
    list.addSubnet(network, Number(bits), family);
  };
  ipv4.forEach(add('ipv4'));
  ipv6.forEach(add('ipv6'));
  return list;
}
