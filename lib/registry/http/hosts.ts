import { isLoopback } from './addresses.ts';

/** Docker Hub answers to one name in references and credentials, and to another on the network. */
const DOCKER_HUB = { name: 'docker.io', host: 'registry-1.docker.io' } as const;

/**
 * Where a registry is found. An insecure host and loopback are tried over TLS first, with any certificate, and then without,
 * as Docker does it. All others are TLS.
 *
 * @param name `host`, `host:port`, or with a scheme, which then decides
 * @returns origins in the order in which they are tried
 */
export function originsOf(name: string, isInsecure: (host: string) => boolean): readonly URL[] {
  if (hasScheme(name)) return [new URL(new URL(name).origin)];
  const host = name === DOCKER_HUB.name ? DOCKER_HUB.host : name;
  const [secure, plain] = [new URL(`https://${host}`), new URL(`http://${host}`)];
  return isInsecure(name) || isLoopback(plain.hostname) ? [secure, plain] : [secure];
}

/** Endpoints on this machine for which no scheme is given: they count as insecure hosts. */
export function loopbackHosts(names: readonly string[]): string[] {
  const hosts = names.filter((name) => !hasScheme(name)).map((name) => new URL(`https://${name}`));
  return hosts.filter(({ hostname }) => isLoopback(hostname)).map(({ host }) => host);
}

function hasScheme(name: string): boolean {
  return /^https?:\/\//.test(name);
}

/** An endpoint's name in credentials: a host, or `docker.io`. */
export function credentialHost(name: string): string {
  const host = name.replace(/^https?:\/\//, '').replace(/\/.*$/, '');
  return host === DOCKER_HUB.host ? DOCKER_HUB.name : host;
}
