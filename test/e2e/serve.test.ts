/** Real clients pull every kind of image from `mirror-sync serve`, with the digest and the bytes of upstream. */
import { once } from 'node:events';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Ended, mirrorSync, type Running, startMirrorSync, summaryOf } from '../kit/command-line.ts';
import { makeImage, makeIndex, makeLayer, type Pushable } from '../kit/images.ts';
import { KINDS } from '../kit/kinds.ts';
import { describeWith, run, startDistribution } from '../kit/real.ts';
import { startRegistry, type TestRegistry } from '../kit/registry.ts';
import { makeSchema1 } from '../kit/schema1.ts';
import { tempFolder, type TempFolder } from '../kit/temp.ts';
import { TLS } from '../kit/tls.ts';

const LAYERS = [makeLayer({ seed: 1, size: 200_000 }), makeLayer({ seed: 2 })];
const INDEX = makeIndex([makeImage({ layers: LAYERS }), makeImage({ layers: LAYERS.slice(0, 1) })]);
const IMAGES: ReadonlyMap<string, Pushable> = new Map([
  ...KINDS.map(({ image }, at) => [`kind-${at}`, image] as const),
  // The archive keeps the payload, whose digest it is, without the signatures around it.
  ['schema1', makeSchema1({ signed: false })],
  ['index', INDEX],
  ['nested', makeIndex([INDEX, makeImage({ layers: [makeLayer({ seed: 3 })] })])],
]);
/**
 * What Debian's skopeo (1.9) cannot copy into docker-registry (2.8): neither knows nested indexes, zstd in Docker's formats or
 * digests other than SHA-256, and docker-registry signs schema 1.
 */
const NOT_FOR_SKOPEO: ReadonlySet<string> = new Set([
  ...['nested', 'schema1'],
  ...['an index of an index', 'zstd in a Docker manifest', 'SHA-512 everywhere'].map(
    (kind) => `kind-${KINDS.findIndex(({ name }) => name === kind)}`,
  ),
]);

let folder: TempFolder;
let registry: TestRegistry;
let archive: string;

beforeAll(async () => {
  [registry, folder] = await Promise.all([startRegistry(), tempFolder()]);
  archive = folder.join('archive');
  for (const [tag, image] of IMAGES) registry.push('team/app', image, tag);
  const synced = await mirrorSync(['sync', `${registry.host}/team/app`, '--all-tags', '--to', archive, '--json']);
  expect(summaryOf(synced)).toMatchObject({ failed: 0 });
});

afterAll(async () => {
  await registry.close();
  await folder.remove();
});

interface Serving extends AsyncDisposable {
  /** `127.0.0.1:PORT` */
  readonly host: string;
  /** `127.0.0.1:PORT/HOST_PORT/team/app` */
  readonly name: string;
  readonly running: Running;
  stop(): Promise<Ended>;
}

async function serving(...args: string[]): Promise<Serving> {
  const running = startMirrorSync(['serve', archive, '--listen', '127.0.0.1:0', ...args]);
  const host = await new Promise<string>((resolve, reject) => {
    let said = '';
    running.process.stderr?.on('data', (chunk: Buffer) => {
      said += chunk.toString();
      const [, address] = / on https?:\/\/(\S+)/.exec(said) ?? [];
      if (address !== undefined) resolve(address);
    });
    running.process.once('close', () => {
      reject(new Error(said));
    });
  });
  return {
    host,
    name: `${host}/${registry.host.replace(':', '_')}/team/app`,
    running,
    stop: () => {
      running.process.kill('SIGTERM');
      return running.ended;
    },
    [Symbol.asyncDispose]: () => running[Symbol.asyncDispose](),
  };
}

/** Sends bytes as they are, and resolves to the status line. */
async function raw(host: string, bytes: string): Promise<string> {
  const [, port = ''] = host.split(':');
  const socket = connect(Number(port), '127.0.0.1');
  socket.write(bytes, 'latin1');
  return (await text(socket)).split('\r\n')[0] ?? '';
}

describe('mirror-sync serve', () => {
  test('sends the bytes of upstream over HTTP, and ends after SIGTERM', async () => {
    await using served = await serving();
    const url = `http://${served.name.replace('/', '/v2/')}`;
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
    expect(ended.stdout).toMatch(/^\S+Z  127\.0\.0\.1  GET \/v2\/\S+\/manifests\/kind-0  200  \d+  \d+ ms$/m);
    expect(ended.stderr).toContain('location = "127.0.0.1:');
    expect(ended.stderr).toContain('stopping: running responses end');
  });

  test('judges the raw path', async () => {
    await using served = await serving();
    const name = served.name.replace(`${served.host}/`, '');
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

  test('ends running responses before it ends, and a second signal ends it at once', async () => {
    await using served = await serving();
    const [, port = ''] = served.host.split(':');
    const layer = LAYERS[0]!;
    const path = `/v2/${served.name.slice(served.host.length + 1)}/blobs/${layer.digest}`;
    const socket = connect(Number(port), '127.0.0.1');
    socket.write(`GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`);
    const [first] = (await once(socket, 'data')) as [Buffer];
    socket.pause();
    served.running.process.kill('SIGTERM');
    const chunks = [first];
    for await (const chunk of socket) chunks.push(chunk as Buffer);
    const all = Buffer.concat(chunks);
    expect(all.subarray(all.indexOf('\r\n\r\n') + 4)).toEqual(layer.blob);
    expect((await served.running.ended).code).toBe(0);
  });

  test('speaks TLS', async () => {
    const [cert, key] = [folder.join('cert.pem'), folder.join('key.pem')];
    await writeFile(cert, TLS.cert);
    await writeFile(key, TLS.key);
    await using served = await serving('--tls-cert', cert, '--tls-key', key);
    const environment = { NODE_EXTRA_CA_CERTS: cert };
    const program = `fetch('https://${served.host}/v2/').then((r) => console.log(r.status))`;
    expect(await run(process.execPath, ['-e', program], environment)).toBe('200\n');
  });

  test('reports a busy port, a certificate that cannot be used, and a missing archive', async () => {
    await using served = await serving();
    const failing = async (...args: string[]): Promise<string> => {
      const { code, stderr } = await mirrorSync(['serve', ...args]);
      expect(code).toBe(2);
      return stderr;
    };
    expect(await failing(archive, '--listen', served.host)).toBe(
      `mirror-sync serve: listen on ${served.host}: another program uses this port; choose another with --listen\n`,
    );
    expect(await failing(folder.join('none'))).toContain('is not a mirror-sync archive');
    const none = folder.join('none.pem');
    expect(await failing(archive, '--tls-cert', none, '--tls-key', none)).toContain(
      `read TLS file ${none}: no such file or directory`,
    );
    const wrong = folder.join('wrong.pem');
    await writeFile(wrong, 'not PEM');
    expect(await failing(archive, '--listen', '127.0.0.1:0', '--tls-cert', wrong, '--tls-key', wrong)).toContain(
      'read TLS certificate: expected a certificate and its key in PEM',
    );
  });
});

async function digestIn(layout: string): Promise<string | undefined> {
  const index = JSON.parse(await readFile(`${layout}/index.json`, 'utf8')) as { manifests: { digest: string }[] };
  return index.manifests[0]?.digest;
}

describeWith(['skopeo', 'docker-registry'], 'skopeo', () => {
  test('copies every kind that it supports into a registry, which then has the digest of upstream', async () => {
    await using served = await serving();
    await using restored = await startDistribution(folder.join('restored'));
    for (const [tag, { digest }] of IMAGES) {
      if (NOT_FOR_SKOPEO.has(tag)) continue;
      const [from, to] = [`docker://${served.name}:${tag}`, `docker://${restored.host}/app:${tag}`];
      await run('skopeo', [
        'copy',
        '--all',
        '--preserve-digests',
        '--src-tls-verify=false',
        '--dest-tls-verify=false',
        from,
        to,
      ]);
      const head = await fetch(`http://${restored.host}/v2/app/manifests/${tag}`, {
        method: 'HEAD',
        headers: { accept: IMAGES.get(tag)!.mediaType },
      });
      expect([tag, head.headers.get('docker-content-digest')]).toEqual([tag, digest]);
    }
  });
});

describeWith(['crane'], 'crane', () => {
  test('names the digest of every kind, and pulls an index', async () => {
    await using served = await serving();
    for (const [tag, { digest }] of IMAGES)
      expect([tag, (await run('crane', ['digest', '--insecure', `${served.name}:${tag}`])).trim()]).toEqual([
        tag,
        digest,
      ]);
    const layout = folder.join('crane');
    await run('crane', ['pull', '--insecure', '--format=oci', `${served.name}:nested`, layout]);
    expect(await digestIn(layout)).toBe(IMAGES.get('nested')?.digest);
    const tags = (await run('crane', ['ls', '--insecure', served.name])).trim().split('\n');
    expect(tags.sort()).toEqual([...IMAGES.keys()].sort());
  });
});

describeWith(['regctl'], 'regctl', () => {
  test('copies every kind into an OCI layout with the digest of upstream', async () => {
    await using served = await serving();
    for (const [tag, { digest }] of IMAGES) {
      if (tag === 'schema1') continue;
      const layout = folder.join(`regctl-${tag}`);
      await run('regctl', [
        '--host',
        `reg=${served.host},tls=disabled`,
        'image',
        'copy',
        `${served.name}:${tag}`,
        `ocidir://${layout}:x`,
      ]);
      expect([tag, await digestIn(layout)]).toEqual([tag, digest]);
    }
  });
});

describeWith(['conformance'], 'the conformance program of the OCI distribution spec', () => {
  // It ends with 0 also where it has tested nothing, so its counts decide.
  test('passes its read-only tests', async () => {
    await using served = await serving();
    const [image] = INDEX.children;
    const output = await run('conformance', [], {
      OCI_REGISTRY: served.host,
      OCI_TLS: 'disabled',
      OCI_REPO1: served.name.slice(served.host.length + 1),
      OCI_API_PUSH: 'false',
      OCI_RO_DATA_TAGS: 'index',
      OCI_RO_DATA_MANIFESTS: `${INDEX.digest} ${image!.digest}`,
      OCI_RO_DATA_BLOBS: LAYERS[0]!.digest,
      OCI_RO_DATA_REFERRERS: INDEX.digest,
      OCI_FILTER_TEST: 'OCI Conformance Test/read-only',
      OCI_RESULTS_DIR: folder.join('conformance'),
    });
    const count = (name: string): number =>
      Number(new RegExp(`^ *${name}\\.+: +(\\d+)$`, 'm').exec(output)?.[1] ?? NaN);
    expect([count('FAIL'), count('Error')]).toEqual([0, 0]);
    expect(count('Pass')).toBeGreaterThanOrEqual(10);
  });
});

describeWith(['podman'], 'podman', () => {
  test('pulls through the mirror that serve prints, without asking upstream', async () => {
    await using served = await serving();
    const root = folder.join('podman');
    await mkdir(root, { recursive: true });
    const mirrored = served.name.replace('/team/app', '');
    const config = [
      '[[registry]]',
      `location = "${registry.host}"`,
      '[[registry.mirror]]',
      `location = "${mirrored}"`,
      'insecure = true',
    ].join('\n');
    await writeFile(`${root}/registries.conf`, config);
    registry.forgetRequests();
    const storage = ['--root', `${root}/root`, '--runroot', `${root}/run`, '--storage-driver', 'vfs'];
    const reference = `${registry.host}/team/app:index`;
    const environment = { CONTAINERS_REGISTRIES_CONF: `${root}/registries.conf` };
    const id = await run('podman', [...storage, 'pull', '--quiet', reference], environment);
    expect(id.trim()).toMatch(/^[0-9a-f]{64}$/);
    expect(registry.requests).toEqual([]);
  });
});
