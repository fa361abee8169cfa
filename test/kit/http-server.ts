import { once } from 'node:events';
import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type RequestListener,
  type Server,
} from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { TLS } from './tls.ts';

export interface Received {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

export interface HttpServer extends AsyncDisposable {
  /** `127.0.0.1:PORT` */
  readonly host: string;
  readonly port: number;
  /** Requests in the order in which they came. */
  readonly requests: readonly Received[];
}

/** A response: a status, headers and a body. */
export type Reply = readonly [number, Record<string, string>?, (string | Uint8Array)?];

/** A server on loopback whose responses are a function of the request. */
export async function serveHttp(
  answer: (request: Received) => Reply | Promise<Reply>,
  { tls = false }: { readonly tls?: boolean } = {},
): Promise<HttpServer> {
  const requests: Received[] = [];
  const listener: RequestListener = (incoming, outgoing) => {
    void bodyOf(incoming).then(async (body) => {
      const { method = 'GET', url = '/', headers } = incoming;
      const received = { method, path: url, headers, body };
      requests.push(received);
      const [status, head = {}, content] = await answer(received);
      outgoing.writeHead(status, head).end(content);
    });
  };
  const server: Server = tls ? createTlsServer(TLS, listener) : createServer(listener);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    host: `127.0.0.1:${port}`,
    port,
    requests,
    async [Symbol.asyncDispose]() {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

async function bodyOf(incoming: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of incoming) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString();
}
