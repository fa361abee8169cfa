import { BlockList, isIP } from 'node:net';
import { invalid } from '../../core/failure.ts';
import { own } from '../../core/own.ts';

const PROTOCOLS: ReadonlySet<string> = new Set(['http:', 'https:', 'socks5:', 'socks5h:']);

/** A proxy for requests to other machines: its address per scheme, and the hosts that are reached directly. */
export interface Proxy {
  /** `http://user:password@proxy.example:3128` */
  readonly http?: string | undefined;
  readonly https?: string | undefined;
  /** Hosts, domains, addresses and address ranges, separated by commas or spaces, or `*`. */
  readonly except?: string | undefined;
}

/** The proxy of the environment, as in curl and Go: `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`; lower case comes first. */
export function proxyFrom(env: Readonly<Record<string, string | undefined>>): Proxy | undefined {
  const read = (name: string): string | undefined => own(env, name.toLowerCase()) || own(env, name) || undefined;
  const [http, https] = [read('HTTP_PROXY'), read('HTTPS_PROXY')];
  return http === undefined && https === undefined ? undefined : { http, https, except: read('NO_PROXY') };
}

/**
 * The proxy for a URL; undefined for a direct request. The proxy for HTTP is the default for HTTPS.
 *
 * @throws Failure `invalid` for a proxy that cannot be used; it shows no part of the address, which may have a password
 */
export function proxyFor(url: URL, { http, https, except = '' }: Proxy): string | undefined {
  const isForTls = url.protocol === 'https:' && https !== undefined;
  const proxy = isForTls ? https : http;
  if (proxy === undefined || proxy === '') return undefined;
  const exempt = except.split(/[,\s]+/).some((entry) => entry !== '' && covers(entry.toLowerCase(), url));
  return exempt ? undefined : usable(proxy, isForTls ? 'HTTPS_PROXY' : 'HTTP_PROXY');
}

function usable(proxy: string, variable: string): string {
  const wrong = (detail: string): Error => invalid(`use the proxy of ${variable}`, detail);
  const address = proxy.includes('://') ? proxy : `http://${proxy}`;
  if (!URL.canParse(address) || new URL(address).hostname === '')
    throw wrong('not a URL (expected http://HOST:PORT); encode special characters of its password, such as / as %2F');
  const { protocol, username, password } = new URL(address);
  if (!PROTOCOLS.has(protocol))
    throw wrong(`unknown scheme ${protocol}// (expected http://, https://, socks5:// or socks5h://)`);
  if (!isEncoded(username) || !isEncoded(password))
    throw wrong('its user or password has a % without a valid escape; write %25');
  return address;
}

function isEncoded(text: string): boolean {
  try {
    decodeURIComponent(text);
    return true;
  } catch {
    return false;
  }
}

/** The host and port of a proxy, without the password of its URL. */
export function proxyHost(proxy: string): string {
  return URL.canParse(proxy) ? new URL(proxy).host : 'with an invalid address';
}

/**
 * Whether an entry of NO_PROXY covers a URL: `*`, a host with its subdomains (`example.com`, `.example.com`), only subdomains
 * (`*.example.com`), an address, or a range (`10.0.0.0/8`, `fd00::/8`). All except ranges may have a `:port`. Names are not
 * resolved, so a range covers only literal addresses.
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

/** Removes the brackets and the trailing dot of a hostname. */
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
