import { BlockList, isIP } from 'node:net';
import { own } from '../../core/own.ts';

/** A proxy for requests to other machines: its address for each scheme, and the hosts that are reached without it. */
export interface Proxy {
  /** `http://user:password@proxy.example:3128` */
  readonly http?: string | undefined;
  readonly https?: string | undefined;
  /** Hosts, domains, addresses and ranges of addresses, with commas or spaces between them, or `*`. */
  readonly except?: string | undefined;
}

/**
 * The proxy that the environment names, as curl, Docker and Go read it: `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`, the lower
 * case first.
 */
export function proxyFrom(env: Readonly<Record<string, string | undefined>>): Proxy | undefined {
  const read = (name: string): string | undefined => own(env, name.toLowerCase()) || own(env, name) || undefined;
  const [http, https] = [read('HTTP_PROXY'), read('HTTPS_PROXY')];
  return http === undefined && https === undefined ? undefined : { http, https, except: read('NO_PROXY') };
}

/** The proxy that a request goes through; nothing where it goes directly. Without one for HTTPS, the one for HTTP serves both. */
export function proxyFor(url: URL, { http, https, except = '' }: Proxy): string | undefined {
  const proxy = url.protocol === 'https:' ? (https ?? http) : http;
  if (proxy === undefined || proxy === '') return undefined;
  const exempt = except.split(/[,\s]+/).some((entry) => entry !== '' && covers(entry.toLowerCase(), url));
  if (exempt) return undefined;
  return proxy.includes('://') ? proxy : `http://${proxy}`;
}

/** A proxy's host and port, without the password that its URL may have. */
export function proxyHost(proxy: string): string {
  return URL.canParse(proxy) ? new URL(proxy).host : 'with an unusable address';
}

/**
 * Whether an entry of NO_PROXY covers a URL: `*`, a host with its subdomains (`example.com`, `.example.com`), subdomains alone
 * (`*.example.com`), an address, or a range (`10.0.0.0/8`, `fd00::/8`); each but a range with `:port`, which limits it. Names
 * are not resolved, so ranges cover only hosts that are addresses.
 */
function covers(entry: string, { hostname, port, protocol }: URL): boolean {
  const host = bare(hostname);
  if (entry.includes('/')) return isWithin(host, entry);
  const [, bracketed, plain, wanted] = /^(?:\[(.+)\]|([^:]*|.*:.*:.*?))(?::(\d+))?$/.exec(entry) ?? [];
  const name = bare(bracketed ?? plain ?? '');
  const portOf = port === '' ? (protocol === 'https:' ? '443' : '80') : port;
  if (isIP(entry) === 6) return isSameAddress(host, entry);
  if (wanted !== undefined && wanted !== portOf) return false;
  if (name === '*') return true;
  if (isIP(name) !== 0) return isSameAddress(host, name);
  const domain = name.replace(/^\*?\./, '');
  if (domain === '') return false;
  return host.endsWith(`.${domain}`) || (host === domain && !name.startsWith('*'));
}

/** A hostname without brackets and without the dot that ends a fully qualified name. */
function bare(hostname: string): string {
  return hostname.replace(/^\[(.*)\]$/, '$1').replace(/(?<=.)\.$/, '');
}

function isSameAddress(host: string, address: string): boolean {
  return isWithin(host, `${address}/${isIP(address) === 4 ? 32 : 128}`);
}

function isWithin(host: string, range: string): boolean {
  const [, network = '', bits = ''] = /^\[?([^\]/]*)\]?\/(\d{1,3})$/.exec(range) ?? [];
  const family = isIP(network);
  const own = isIP(host);
  if (family === 0 || own === 0 || Number(bits) > (family === 4 ? 32 : 128)) return false;
  const list = new BlockList();
  list.addSubnet(network, Number(bits), family === 4 ? 'ipv4' : 'ipv6');
  return list.check(host, own === 4 ? 'ipv4' : 'ipv6');
}
