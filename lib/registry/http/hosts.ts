import { isLoopback } from './addresses.ts';

/** Docker Hub has one name in references and credentials, and another host on the network. */
const DOCKER_HUB = { name: 'docker.io', host: 'registry-1.docker.io' } as const;

/**
 * The origins of a registry in the order of attempts. Insecure and loopback hosts are tried with TLS and any certificate,
 * then with plain HTTP, as Docker does. All other hosts require TLS.
 *
 * @param name `host` or `host:port`; a scheme overrides the default
 */
export function originsOf(name: string, isInsecure: (host: string) => boolean): readonly URL[] {
  if (hasScheme(name)) return [new URL(new URL(name).origin)];
  const host = name === DOCKER_HUB.name ? DOCKER_HUB.host : name;
  const [secure, plain] = [new URL(`https://${host}`), new URL(`http://${host}`)];
  return isInsecure(name) || isLoopback(plain.hostname) ? [secure, plain] : [secure];
}

/** Loopback endpoints without a scheme; they are insecure hosts. */
export function loopbackHosts(names: readonly string[]): string[] {
  const hosts = names.filter((name) => !hasScheme(name)).map((name) => new URL(`https://${name}`));
  return hosts.filter(({ hostname }) => isLoopback(hostname)).map(({ host }) => host);
}

function hasScheme(name: string): boolean {
  return /^https?:\/\//.test(name);
}

/** The key of an endpoint in credentials: a host, or `docker.io`. */
export function credentialHost(name: string): string {
  const host = name.replace(/^https?:\/\//, '').replace(/\/.*$/, '');
  return host === DOCKER_HUB.host ? DOCKER_HUB.name : host;
}
