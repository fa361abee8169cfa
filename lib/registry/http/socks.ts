import type { Socket } from 'node:net';
import type { buildConnector } from 'undici';

/** Whether a proxy speaks SOCKS 5 (RFC 1928). It resolves the names with both schemes, as in Go. */
export function isSocks(proxy: string): boolean {
  return /^socks5h?:/i.test(proxy);
}

/**
 * Connections through a SOCKS 5 proxy.
 *
 * @param proxy `socks5://user:password@proxy.example:1080`
 * @param connector makes TLS connections over a tunnel
 */
export function throughSocks(
  proxy: string,
  connector: buildConnector.connector,
  timeoutMs: number,
): buildConnector.connector {
  return (options, callback) => {
    openTunnel(new URL(proxy), options, timeoutMs).then(
      (httpSocket) => {
        if (options.protocol === 'https:') connector({ ...options, httpSocket }, callback);
        else callback(null, httpSocket);
      },
      (error: unknown) => {
        callback(error as Error, null);
      },
    );
  };
}

async function openTunnel(
  proxy: URL,
  { hostname, port, protocol }: buildConnector.Options,
  timeout: number,
): Promise<Socket> {
  // Loaded on demand. In a bundle, a CommonJS module has only its default export.
  const { SocksClient } = (await import('socks')).default;
  const { socket } = await SocksClient.createConnection({
    proxy: {
      type: 5,
      host: bare(proxy.hostname),
      port: Number(proxy.port || 1080),
      ...(proxy.username === ''
        ? {}
        : { userId: decodeURIComponent(proxy.username), password: decodeURIComponent(proxy.password) }),
    },
    command: 'connect',
    destination: { host: bare(hostname), port: Number(port || (protocol === 'https:' ? 443 : 80)) },
    timeout,
  });
  return socket;
}

/** Removes the brackets of an IPv6 address. */
function bare(hostname: string): string {
  return hostname.replace(/^\[(.*)\]$/, '$1');
}
