import { isLoopback } from './addresses.ts';

/** Hosts that the manifests of Windows images name for their base layers. */
export const FOREIGN_HOSTS: readonly string[] = ['mcr.microsoft.com', '*.mcr.microsoft.com', 'go.microsoft.com'];

/**
 * Whether a foreign layer may be fetched from a URL. A manifest can be anybody's, and sends every mirror of it there.
 *
 * @param allowed hosts, with a port or for every port, or `*.` and a domain
 * @param registries the registry's own hosts; one on this machine may name others on this machine
 */
export function isForeignAllowed(url: URL, allowed: readonly string[], registries: readonly URL[]): boolean {
  if (registries.some(({ host }) => host === url.host)) return true;
  if (isLoopback(url.hostname) && registries.every(({ hostname }) => isLoopback(hostname))) return true;
  return allowed.some((pattern) => {
    if (pattern.startsWith('*.')) return url.hostname.endsWith(pattern.slice(1));
    return pattern === url.host || pattern === url.hostname;
  });
}
