import { isLoopback } from './addresses.ts';

/** The hosts of the base layers of Windows images. */
export const FOREIGN_HOSTS: readonly string[] = ['mcr.microsoft.com', '*.mcr.microsoft.com', 'go.microsoft.com'];

/**
 * Whether a foreign layer may be fetched from a URL. The author of a manifest chooses its URLs, so only known hosts are
 * allowed.
 *
 * @param allowed hosts with or without a port, or `*.` and a domain
 * @param registries the registry's own hosts; a registry on this machine may name other hosts on this machine
 */
export function isForeignAllowed(url: URL, allowed: readonly string[], registries: readonly URL[]): boolean {
  if (registries.some(({ host }) => host === url.host)) return true;
  if (isLoopback(url.hostname) && registries.every(({ hostname }) => isLoopback(hostname))) return true;
  return allowed.some((pattern) => {
    if (pattern.startsWith('*.')) return url.hostname.endsWith(pattern.slice(1));
    return pattern === url.host || pattern === url.hostname;
  });
}
