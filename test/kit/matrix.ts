/** The kinds of images that each client pulls from a served archive; `docs/serve.md` has the same table. */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { run } from './real.ts';

/** A client that copies a whole image, byte for byte. */
export interface Client {
  readonly name: string;
  /** The version that was tried. */
  readonly version: string;
  /** Copies `host/name:tag` into a folder, and resolves to the digest of the copy. */
  copy(host: string, reference: string, folder: string): Promise<string | undefined>;
  /** The kinds that it refuses, each with the reason that it prints. */
  readonly refuses: Readonly<Record<string, RegExp>>;
}

async function digestOfLayout(folder: string): Promise<string | undefined> {
  const index = JSON.parse(await readFile(`${folder}/index.json`, 'utf8')) as { manifests: { digest: string }[] };
  return index.manifests[0]?.digest;
}

export const CLIENTS: readonly Client[] = [
  {
    name: 'skopeo',
    version: '1.9.3',
    async copy(host, reference, folder) {
      const source = `docker://${host}/${reference}`;
      await run('skopeo', ['copy', '--all', '--preserve-digests', '--src-tls-verify=false', source, `dir:${folder}`]);
      const bytes = await readFile(`${folder}/manifest.json`);
      return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
    },
    refuses: {
      'an index of an index': /Unexpectedly received a manifest list/,
      nested: /Unexpectedly received a manifest list/,
      'zstd in a Docker manifest': /unsupported docker v2s2 media type/,
      'SHA-512 everywhere': /Internal error writing blob sha512/,
    },
  },
  {
    name: 'crane',
    version: '0.22.1',
    async copy(host, reference, folder) {
      await run('crane', ['pull', '--insecure', '--format=oci', `${host}/${reference}`, folder]);
      return await digestOfLayout(folder);
    },
    refuses: { schema1: /unsupported MediaType/ },
  },
  {
    name: 'regctl',
    version: '0.11.7',
    async copy(host, reference, folder) {
      const plain = ['--host', `reg=${host},tls=disabled`];
      await run('regctl', [...plain, 'image', 'copy', `${host}/${reference}`, `ocidir://${folder}:x`]);
      return await digestOfLayout(folder);
    },
    refuses: {},
  },
  {
    name: 'oras',
    version: '1.3.6',
    async copy(host, reference, folder) {
      await run('oras', ['copy', '--from-plain-http', '--to-oci-layout', `${host}/${reference}`, `${folder}:x`]);
      return await digestOfLayout(folder);
    },
    refuses: {},
  },
];

/** The kinds that a client refuses, as a table for the docs. */
export function matrixTable(): string {
  const kinds = [...new Set(CLIENTS.flatMap(({ refuses }) => Object.keys(refuses)))];
  const rows = kinds.map((kind) => [kind, ...CLIENTS.map(({ refuses }) => (kind in refuses ? 'refuses' : 'pulls'))]);
  const head = ['kind', ...CLIENTS.map(({ name, version }) => `${name} ${version}`)];
  const all = [head, head.map(() => '---'), ...rows, ['all others', ...CLIENTS.map(() => 'pulls')]];
  return all.map((cells) => `| ${cells.join(' | ')} |\n`).join('');
}
