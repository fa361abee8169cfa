import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';
import { request } from 'undici';
import { bareEnvironment } from './measure.ts';

export interface Server extends AsyncDisposable {
  /** `127.0.0.1:PORT` */
  readonly host: string;
}

/** Runs a server on a free port until it is disposed of. Resolves when `GET readyPath` is answered with 200. */
export async function startServer(
  argv: (port: number) => readonly [string, ...string[]],
  readyPath: string,
  home: string,
  before: (port: number) => Promise<void> = () => Promise.resolve(),
): Promise<Server> {
  const port = await freePort();
  await before(port);
  const host = `127.0.0.1:${port}`;
  const [program, ...args] = argv(port);
  const child = spawn(program, args, { env: bareEnvironment(home), stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(-2000);
  });
  child.once('error', (error) => {
    said = error.message;
  });
  const gone = (): boolean => child.pid === undefined || child.exitCode !== null || child.signalCode !== null;
  const server = {
    host,
    async [Symbol.asyncDispose]() {
      if (gone()) return;
      const exited = once(child, 'exit');
      child.kill('SIGKILL');
      await exited;
    },
  };
  for (let tries = 0; tries < 200 && !gone(); tries += 1) {
    if (await answers(`http://${host}${readyPath}`)) return server;
    await wait(50);
  }
  await server[Symbol.asyncDispose]();
  throw new Error(`start ${program}: ${said.trim() || 'no response'}`);
}

async function answers(url: string): Promise<boolean> {
  try {
    const { statusCode, body } = await request(url);
    await body.dump();
    return statusCode === 200;
  } catch {
    return false;
  }
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
