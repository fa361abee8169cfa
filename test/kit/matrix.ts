/** The kinds of images that each client pulls from a served archive; `docs/serve.md` has the same table. */
import { createHash } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { startContainerd } from './containerd.ts';
import { makeImage, makeIndex, makeLayer, type Pushable } from './images.ts';
import { KINDS } from './kinds.ts';
import { run } from './real.ts';
import { IMAGES } from './serving.ts';
import { tempFolder } from './temp.ts';

/** A server, and what a client needs to use it. */
export interface Target {
  readonly host: string;
  /** A folder for this client. */
  readonly folder: string;
  /** The value of the Authorization header, which is also in the file of `env`. */
  readonly authorization?: string;
  /** The variables that name the file with the login. */
  readonly env?: Readonly<Record<string, string>>;
}

export interface Copier extends AsyncDisposable {
  /** Copies `name:tag` whole, and resolves to the digest of the copy. @throws Error with the output of the client */
  copy(reference: string, to: string): Promise<string | undefined>;
}

export interface Client {
  readonly name: string;
  /** The programs that it needs. */
  readonly programs: readonly string[];
  /** The version that was tried. */
  readonly version: string;
  open(target: Target): Promise<Copier>;
  /** The kinds that it refuses, each with the reason that it prints. */
  readonly refuses: Readonly<Record<string, RegExp>>;
}

/** An index that was mirrored for amd64 only. */
export const SPARSE = makeIndex(
  ['amd64', 'arm64'].map((architecture, at) =>
    makeImage({ layers: [makeLayer({ seed: 30 + at })], platform: { os: 'linux', architecture } }),
  ),
);
const SPARSE_KIND = 'an index without the image of a platform';

/** Its layers are distinct, because containerd waits long for a blob that it is already fetching. */
const MANY = makeImage({ layers: Array.from({ length: 120 }, (_, at) => makeLayer({ seed: 200 + at, size: 100 })) });

/** The images of `team/app` by tag. */
export const TAGGED: ReadonlyMap<string, Pushable> = new Map([...IMAGES, ['120-layers', MANY]]);

export interface Copied {
  readonly kind: string;
  readonly repository: 'app' | 'sparse';
  readonly tag: string;
  readonly digest: string;
}

/** Everything that each client copies. */
export const COPIED: readonly Copied[] = [
  ...[...TAGGED].map(([tag, { digest }]) => ({ kind: kindOf(tag), repository: 'app' as const, tag, digest })),
  { kind: SPARSE_KIND, repository: 'sparse', tag: '1', digest: SPARSE.digest },
];

function kindOf(tag: string): string {
  return tag.startsWith('kind-') ? KINDS[Number(tag.slice('kind-'.length))]!.name : tag;
}

/** A client without a process or storage of its own. */
function plain(
  copy: (target: Target, reference: string, to: string) => Promise<string | undefined>,
): (target: Target) => Promise<Copier> {
  return (target) =>
    Promise.resolve({
      copy: (reference, to) => copy(target, `${target.host}/${reference}`, to),
      [Symbol.asyncDispose]: () => Promise.resolve(),
    });
}

async function digestOfLayout(folder: string): Promise<string | undefined> {
  const index = JSON.parse(await readFile(`${folder}/index.json`, 'utf8')) as { manifests: { digest: string }[] };
  return index.manifests[0]?.digest;
}

async function openPodman({ host, folder, env }: Target): Promise<Copier> {
  await mkdir(folder, { recursive: true });
  await writeFile(`${folder}/registries.conf`, `[[registry]]\nlocation = "${host}"\ninsecure = true\n`);
  return {
    async copy(reference, to) {
      // A storage has one digest for images that unpack to the same, so each copy has its own.
      // Its path has at most 50 characters.
      await using state = await tempFolder();
      const storage = ['--root', `${to}/root`, '--runroot', state.path, '--storage-driver', 'vfs'];
      const podman = (...args: string[]): Promise<string> =>
        run('podman', [...storage, ...args], { CONTAINERS_REGISTRIES_CONF: `${folder}/registries.conf`, ...env });
      await podman('pull', '--quiet', `${host}/${reference}`);
      return (await podman('images', '--digests', '--format', '{{.Digest}}')).trim();
    },
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

async function openContainerd({ host, folder, authorization }: Target): Promise<Copier> {
  const hosts = `${folder}/certs.d`;
  await mkdir(`${hosts}/${host}`, { recursive: true });
  const lines = [
    `[host."http://${host}"]\n  capabilities = ["pull", "resolve"]`,
    ...(authorization === undefined ? [] : [`  header = { Authorization = ${JSON.stringify(authorization)} }`]),
  ];
  await writeFile(`${hosts}/${host}/hosts.toml`, `${lines.join('\n')}\n`);
  const containerd = await startContainerd(folder);
  return {
    async copy(reference) {
      await containerd.fetch(`${host}/${reference}`, hosts);
      return await containerd.digestOf(`${host}/${reference}`);
    },
    [Symbol.asyncDispose]: () => containerd[Symbol.asyncDispose](),
  };
}

const ABSENT = { [SPARSE_KIND]: /not found|unknown/i };
const NOT_AN_IMAGE = /unsupported image-specific operation on artifact/;
const NOT_A_TAR = /unexpected EOF/;

export const CLIENTS: readonly Client[] = [
  {
    name: 'skopeo',
    programs: ['skopeo'],
    version: '1.9.3',
    open: plain(async ({ env }, reference, to) => {
      const options = ['--all', '--preserve-digests', '--src-tls-verify=false'];
      await run('skopeo', ['copy', ...options, `docker://${reference}`, `dir:${to}`], env);
      const bytes = await readFile(`${to}/manifest.json`);
      return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
    }),
    refuses: {
      'an index of an index': /Unexpectedly received a manifest list/,
      nested: /Unexpectedly received a manifest list/,
      'zstd in a Docker manifest': /unsupported docker v2s2 media type/,
      'SHA-512 everywhere': /Internal error writing blob sha512/,
      ...ABSENT,
    },
  },
  {
    name: 'crane',
    programs: ['crane'],
    version: '0.22.1',
    open: plain(async ({ env }, reference, to) => {
      await run('crane', ['pull', '--insecure', '--format=oci', reference, to], env);
      return await digestOfLayout(to);
    }),
    refuses: { schema1: /unsupported MediaType/, ...ABSENT },
  },
  {
    name: 'regctl',
    programs: ['regctl'],
    version: '0.11.7',
    open: plain(async ({ host, env }, reference, to) => {
      await run('regctl', ['--host', `reg=${host},tls=disabled`, 'image', 'copy', reference, `ocidir://${to}:x`], env);
      return await digestOfLayout(to);
    }),
    refuses: ABSENT,
  },
  {
    name: 'oras',
    programs: ['oras'],
    version: '1.3.6',
    open: plain(async ({ env }, reference, to) => {
      await run('oras', ['copy', '--from-plain-http', '--to-oci-layout', reference, `${to}:x`], env);
      return await digestOfLayout(to);
    }),
    refuses: ABSENT,
  },
  {
    name: 'podman',
    programs: ['podman'],
    version: '4.3.1',
    open: openPodman,
    refuses: {
      'an index of an index': /Unexpectedly received a manifest list/,
      'Windows images with os.features': /no image found in manifest list for architecture/,
      'zstd in a Docker manifest': /unsupported docker v2s2 media type/,
      'a virtual machine under the type of an image': NOT_A_TAR,
      'a config of zero bytes': /unexpected end of JSON input/,
      'a config that is a list': /cannot unmarshal array/,
      'squashfs with +zstd': NOT_A_TAR,
      'squashfs with +gzip': NOT_A_TAR,
      'an artifact with an erofs blob': NOT_AN_IMAGE,
      'an artifact whose gzip has zeros behind it': NOT_AN_IMAGE,
      'an artifact whose gzip is truncated': NOT_AN_IMAGE,
      'an artifact with a zero-byte config': NOT_AN_IMAGE,
      'a layer in a compression that is not known': NOT_A_TAR,
      'an encrypted layer': NOT_A_TAR,
      'SHA-512 everywhere': /does not match expected sha512/,
      'an artifact': NOT_AN_IMAGE,
      'an artifact that refers to an image': NOT_AN_IMAGE,
    },
  },
  {
    name: 'containerd',
    programs: ['containerd', 'ctr'],
    version: '1.6.20',
    open: openContainerd,
    refuses: {
      'a zero-byte layer declared as gzip': /reports content size of zero/,
      'a zero-byte layer declared as zstd': /reports content size of zero/,
      'a config of zero bytes': /reports content size of zero/,
      'an artifact with a zero-byte config': /reports content size of zero/,
      'SHA-512 everywhere': /expected sha512/,
      ...ABSENT,
    },
  },
];

/** The kinds that a client refuses, as a table for the docs. */
export function matrixTable(): string {
  const refused = new Set(CLIENTS.flatMap(({ refuses }) => Object.keys(refuses)));
  const kinds = COPIED.map(({ kind }) => kind).filter((kind) => refused.has(kind));
  const rows = kinds.map((kind) => [kind, ...CLIENTS.map(({ refuses }) => (kind in refuses ? 'refuses' : 'pulls'))]);
  const head = ['kind', ...CLIENTS.map(({ name, version }) => `${name} ${version}`)];
  const all = [head, head.map(() => '---'), ...rows, ['all others', ...CLIENTS.map(() => 'pulls')]];
  return all.map((cells) => `| ${cells.join(' | ')} |\n`).join('');
}
