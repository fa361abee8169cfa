/** Docker Hub answers to one name in references and credentials, and to another on the network. */
const DOCKER_HUB = { name: 'docker.io', host: 'registry-1.docker.io' } as const;

/** Whether a URL's hostname is this machine (IPv6 in brackets, as URLs have it). */
export function isLoopback(hostname: string): boolean {
  return hostname === 'localhost' || hostname === '[::1]' || /^127(\.\d{1,3}){3}$/.test(hostname);
}

/**
 * Whether a URL is an address that `from` has no business to send us to: this machine's own, where a Lambda runtime
 * answers, and link-local ones, where clouds hand out credentials. A registry on this machine may name what it likes.
 *
 * Names are not looked up: this keeps honest services from harm, and is no firewall.
 */
export function isOffLimits({ hostname }: URL, from: URL): boolean {
  if (isLoopback(from.hostname)) return false;
  // URLs write IPv4 addresses within IPv6 ones in hexadecimal: 169.254 is a9fe, 127 is 7f.
  const linkLocal = /^169\.254\.|^\[(?:fe[89ab][0-9a-f]:|fd00:ec2::|::ffff:(?:a9fe|7f[0-9a-f]{2}):)/i;
  return isLoopback(hostname) || hostname === '0.0.0.0' || hostname === '[::]' || linkLocal.test(hostname);
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
