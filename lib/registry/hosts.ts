/** Docker Hub answers to one name in references and credentials, and to another on the network. */
const DOCKER_HUB = { name: 'docker.io', host: 'registry-1.docker.io' } as const;

/** Whether a URL's hostname is this machine (IPv6 in brackets, as URLs have it). */
export function isLoopback(hostname: string): boolean {
  return hostname === 'localhost' || hostname === '[::1]' || /^127(\.\d{1,3}){3}$/.test(hostname);
}

/**
 * Where a registry is found. Loopback is plain HTTP. An insecure host is tried over TLS first, whatever its certificate,
 * and then without, as Docker does it. All others are TLS.
 *
 * @param name `host`, `host:port`, or with a scheme, which then decides
 * @returns origins in the order in which they are tried
 */
export function originsOf(name: string, isInsecure: (host: string) => boolean): readonly URL[] {
  if (/^https?:\/\//.test(name)) return [new URL(new URL(name).origin)];
  const host = name === DOCKER_HUB.name ? DOCKER_HUB.host : name;
  const plain = new URL(`http://${host}`);
  if (isLoopback(plain.hostname)) return [plain];
  const secure = new URL(`https://${host}`);
  return isInsecure(name) ? [secure, plain] : [secure];
}

/** An endpoint's name in credentials: a host, or `docker.io`. */
export function credentialHost(name: string): string {
  const host = name.replace(/^https?:\/\//, '').replace(/\/.*$/, '');
  return host === DOCKER_HUB.host ? DOCKER_HUB.name : host;
}
