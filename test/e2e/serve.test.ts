/** `mirror-sync serve` as a process: the responses on the wire, its end, and its errors. */
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { mirrorSync } from '../kit/command-line.ts';
import { makeImage, makeLayer } from '../kit/images.ts';
import { run } from '../kit/real.ts';
import { IMAGES, type Mirrored, mirrorImages, type Serving, serving } from '../kit/serving.ts';
import { TLS } from '../kit/tls.ts';

let mirrored: Mirrored;

beforeAll(async () => {
  mirrored = await mirrorImages();
});

afterAll(async () => {
  await mirrored[Symbol.asyncDispose]();
});

/** Sends bytes as they are, and resolves to the status line. */
async function raw(host: string, bytes: string): Promise<string> {
  const [, port = ''] = host.split(':');
  const socket = connect(Number(port), '127.0.0.1');
  socket.write(bytes, 'latin1');
  return (await text(socket)).split('\r\n')[0] ?? '';
}

describe('mirror-sync serve', () => {
  test('sends the bytes of upstream over HTTP, and ends after SIGTERM', async () => {
    await using served = await serving(mirrored.archive);
    const url = `http://${served.host}/v2/${mirrored.name}`;
    for (const [tag, { manifest, mediaType, digest, blobs }] of IMAGES) {
      const response = await fetch(`${url}/manifests/${tag}`);
      expect(response.headers.get('content-type')).toBe(mediaType);
      expect(response.headers.get('docker-content-digest')).toBe(digest);
      expect(Buffer.from(await response.arrayBuffer())).toEqual(manifest);
      for (const [blob, bytes] of blobs) {
        const found = await fetch(`${url}/blobs/${blob}`);
        expect(Buffer.from(await found.arrayBuffer())).toEqual(bytes);
        const head = await fetch(`${url}/blobs/${blob}`, { method: 'HEAD' });
        expect([head.status, head.headers.get('content-length')]).toEqual([200, String(bytes.length)]);
      }
    }
    const ended = await served.stop();
    expect(ended.code).toBe(0);
    expect(ended.stdout).toMatch(/^\S+Z  127\.0\.0\.1  -  GET \/v2\/\S+\/manifests\/kind-0  200  \d+  \d+ ms$/m);
    expect(ended.stderr).toContain(`--registry http://${served.host} ${mirrored.archive}\n`);
    expect(ended.stderr).toContain('stopping: running responses end');
  });

  test('judges the raw path', async () => {
    await using served = await serving(mirrored.archive);
    const { name } = mirrored;
    const request = (target: string): string => `GET ${target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`;
    for (const [target, status] of [
      [`/v2/${name}/manifests/index`, 200],
      [`/v2/${name}/../app/manifests/index`, 400],
      [`/v2/x/../${name}/manifests/index`, 400],
      [`/v2/${name.replaceAll('/', '%2F')}/manifests/index`, 400],
      [`/v2/${name}%00/manifests/index`, 400],
      [`/v2/${name}\0/manifests/index`, 400],
      [`/../../v2/`, 404],
      [`//other.example/v2/`, 404],
      [`/v2/${'a'.repeat(10_000)}/manifests/x`, 400],
    ] as const)
      expect([target.slice(0, 60), await raw(served.host, request(target))]).toEqual([
        target.slice(0, 60),
        expect.stringContaining(` ${status} `),
      ]);
    const header = `X-Large: ${'x'.repeat(1_000_000)}`;
    const large = `GET /v2/ HTTP/1.1\r\nHost: x\r\n${header}\r\n\r\n`;
    // The server may close the connection before it has read all of it.
    const status = await raw(served.host, large).catch(() => 'HTTP/1.1 431 ');
    expect(status).toContain(' 431 ');
    expect(await raw(served.host, request('/v2/'))).toContain(' 200 ');
  });

  test('speaks TLS', async () => {
    const [cert, key] = [mirrored.folder.join('cert.pem'), mirrored.folder.join('key.pem')];
    await writeFile(cert, TLS.cert);
    await writeFile(key, TLS.key);
    await using served = await serving(mirrored.archive, ['--tls-cert', cert, '--tls-key', key]);
    const environment = { NODE_EXTRA_CA_CERTS: cert };
    const program = `fetch('https://${served.host}/v2/').then((r) => console.log(r.status))`;
    expect(await run(process.execPath, ['-e', program], environment)).toBe('200\n');
  });

  test('reports a busy port, a certificate that cannot be used, and a missing archive', async () => {
    await using served = await serving(mirrored.archive);
    const failing = async (...args: string[]): Promise<string> => {
      const { code, stderr } = await mirrorSync(['serve', ...args]);
      expect(code).toBe(2);
      return stderr;
    };
    expect(await failing(mirrored.archive, '--listen', served.host)).toBe(
      `mirror-sync serve: listen on ${served.host}: another program uses this port; choose another with --listen\n`,
    );
    expect(await failing(mirrored.folder.join('none'))).toContain('is not a mirror-sync archive');
    const none = mirrored.folder.join('none.pem');
    expect(await failing(mirrored.archive, '--tls-cert', none, '--tls-key', none)).toContain(
      `read TLS file ${none}: no such file or directory`,
    );
    const wrong = mirrored.folder.join('wrong.pem');
    await writeFile(wrong, 'not PEM');
    expect(
      await failing(mirrored.archive, '--listen', '127.0.0.1:0', '--tls-cert', wrong, '--tls-key', wrong),
    ).toContain('read TLS certificate: expected a certificate in PEM in the file of --tls-cert (');
  });
});

describe('a response that a client reads slowly', () => {
  const LARGE = makeLayer({ seed: 3, size: 30_000_000, compression: 'none' });
  let large: Mirrored;

  beforeAll(async () => {
    large = await mirrorImages(new Map([['1', makeImage({ layers: [LARGE] })]]));
  });

  afterAll(async () => {
    await large[Symbol.asyncDispose]();
  });

  /** A connection that has received the begin of the blob, and reads no more until it is resumed. */
  async function begun({ host }: Serving): Promise<{ readonly socket: Socket; readonly first: Buffer }> {
    const [, port = ''] = host.split(':');
    const socket = connect(Number(port), '127.0.0.1');
    socket.write(`GET /v2/${large.name}/blobs/${LARGE.digest} HTTP/1.1\r\nHost: x\r\n\r\n`);
    const [first] = (await once(socket, 'data')) as [Buffer];
    socket.pause();
    return { socket, first };
  }

  /** Sends SIGTERM, and resolves when the server says that it stops. */
  async function stopping({ running: { process } }: Serving): Promise<void> {
    const said = new Promise<void>((resolve) => {
      process.stderr?.on('data', (chunk: Buffer) => {
        if (chunk.includes('stopping: ')) resolve();
      });
    });
    process.kill('SIGTERM');
    await said;
  }

  test('ends before the server ends', async () => {
    await using served = await serving(large.archive);
    const { socket, first } = await begun(served);
    await stopping(served);
    await expect(fetch(`http://${served.host}/v2/`)).rejects.toThrow('fetch failed');
    const chunks = [first];
    for await (const chunk of socket) chunks.push(chunk as Buffer);
    const all = Buffer.concat(chunks);
    expect(all.subarray(all.indexOf('\r\n\r\n') + 4).equals(LARGE.blob)).toBe(true);
    expect((await served.running.ended).code).toBe(0);
  });

  test('is interrupted by a second signal', async () => {
    await using served = await serving(large.archive);
    const { socket } = await begun(served);
    await stopping(served);
    served.running.process.kill('SIGTERM');
    expect((await served.running.ended).code).toBe('SIGTERM');
    socket.destroy();
  });
});
