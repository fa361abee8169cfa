/** Proxies on loopback that send every request and every tunnel to one port. */
import { once } from 'node:events';
import { createServer, request } from 'node:http';
import { type AddressInfo, connect, createServer as createTcpServer, type Server, type Socket } from 'node:net';

export interface TestProxy extends AsyncDisposable {
  readonly url: string;
  /** `http://host` for a request in plain HTTP; `CONNECT host:port` or `SOCKS user@host:port` for a tunnel. */
  readonly asked: string[];
}

/** @param refusal the status of every CONNECT; a tunnel without it */
export async function startProxy(port: number, refusal?: number): Promise<TestProxy> {
  const asked: string[] = [];
  const sockets = new Set<Socket>();
  const server = createServer((incoming, outgoing) => {
    // A request in plain HTTP to a proxy has the absolute URL (RFC 9112, section 3.2.2).
    const { origin, pathname, search } = new URL(incoming.url ?? '');
    asked.push(origin);
    const { method, headers } = incoming;
    const forwarded = request({ host: '127.0.0.1', port, method, path: pathname + search, headers });
    forwarded.once('response', (reply) => {
      outgoing.writeHead(reply.statusCode ?? 500, reply.headers);
      reply.pipe(outgoing);
    });
    incoming.pipe(forwarded);
  });
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
  });
  server.on('connect', ({ url = '' }, socket: Socket) => {
    asked.push(`CONNECT ${url}`);
    if (refusal !== undefined) {
      socket.end(`HTTP/1.1 ${refusal} Refused\r\nContent-Length: 0\r\n\r\n`);
      return;
    }
    tunnel(socket, port, 'HTTP/1.1 200 Connection Established\r\n\r\n');
  });
  return listening(server, 'http', asked, sockets);
}

/** A SOCKS 5 proxy (RFC 1928) that requires a user and a password (RFC 1929), and accepts any. */
export async function startSocksProxy(port: number): Promise<TestProxy> {
  const asked: string[] = [];
  const sockets = new Set<Socket>();
  const server = createTcpServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    void serveSocks(socket, port, asked).catch(() => socket.destroy());
  });
  return listening(server, 'socks5', asked, sockets);
}

async function serveSocks(socket: Socket, port: number, asked: string[]): Promise<void> {
  await nextOf(socket);
  socket.write(Buffer.from([5, 2]));
  const login = await nextOf(socket);
  socket.write(Buffer.from([1, 0]));
  const request = await nextOf(socket);
  const user = login.toString('utf8', 2, 2 + (login[1] ?? 0));
  const name = request.toString('utf8', 5, request.length - 2);
  asked.push(`SOCKS ${user}@${name}:${request.readUInt16BE(request.length - 2)}`);
  tunnel(socket, port, Buffer.from([5, 0, 0, 1, 0, 0, 0, 0, 0, 0]));
}

/** The next message; the client waits for an answer to each. */
async function nextOf(socket: Socket): Promise<Buffer> {
  const [message] = (await once(socket, 'data')) as [Buffer];
  return message;
}

function tunnel(socket: Socket, port: number, greeting: string | Uint8Array): void {
  const onward = connect(port, '127.0.0.1', () => {
    socket.write(greeting);
    onward.pipe(socket);
    socket.pipe(onward);
  });
  onward.on('error', () => socket.destroy());
  socket.on('close', () => onward.destroy());
}

async function listening(
  server: Server,
  scheme: string,
  asked: string[],
  sockets: ReadonlySet<Socket>,
): Promise<TestProxy> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `${scheme}://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}
