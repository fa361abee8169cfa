/** The network links from a contestant to the registry. */
import { request } from 'undici';
import { tempFolder } from '../../test/kit/temp.ts';
import { freePort, startServer } from './server.ts';
import type { Tools } from './tools.ts';

export const LINKS = ['loopback', 'toxiproxy'] as const;
export type LinkName = (typeof LINKS)[number];

export interface Link extends AsyncDisposable {
  readonly name: LinkName;
  /** The address of the registry through this link. */
  readonly host: string;
}

/** Resembles a registry across the internet: one connection is slow, and several are fast. */
const TOXICS = [
  { type: 'latency', attributes: { latency: 20 } },
  // Kilobytes per second and connection.
  { type: 'bandwidth', attributes: { rate: 25_000 } },
];

/** The name of each link in reports. */
export const DESCRIPTIONS: Readonly<Record<LinkName, string>> = {
  loopback: 'loopback',
  toxiproxy: 'toxiproxy (20 ms, 25,000 KB/s a connection)',
};

export async function openLink(name: LinkName, upstream: string, tools: Tools): Promise<Link> {
  if (name === 'loopback') return { name, host: upstream, [Symbol.asyncDispose]: () => Promise.resolve() };
  const folder = await tempFolder();
  const binary = tools.path('toxiproxy-server');
  const argv = (port: number): [string, ...string[]] => [binary, '-host', '127.0.0.1', '-port', String(port)];
  try {
    const api = await startServer(argv, '/version', folder.path);
    const close = async (): Promise<void> => {
      await api[Symbol.asyncDispose]();
      await folder.remove();
    };
    try {
      const host = `127.0.0.1:${await freePort()}`;
      await post(`http://${api.host}/proxies`, { name: 'registry', listen: host, upstream });
      for (const toxic of TOXICS) await post(`http://${api.host}/proxies/registry/toxics`, toxic);
      return { name, host, [Symbol.asyncDispose]: close };
    } catch (error) {
      await close();
      throw error;
    }
  } catch (error) {
    await folder.remove();
    throw error;
  }
}

async function post(url: string, value: unknown): Promise<void> {
  const body = JSON.stringify(value);
  const { statusCode, body: answer } = await request(url, { method: 'POST', body });
  const text = await answer.text();
  if (statusCode >= 300) throw new Error(`POST ${url}: ${statusCode} ${text}`);
}
