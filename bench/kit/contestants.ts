/** The fastest known command of each program that copies images from a registry on loopback into a folder. */
import { writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { Contestant } from './contest.ts';
import type { Command } from './measure.ts';
import type { RealLayer } from './layers.ts';
import type { Tools, ToolName } from './tools.ts';

/** The copied images: tags of one repository, so that each contestant can share their common blobs. */
export interface Images {
  readonly repository: string;
  readonly tags: readonly string[];
  /** Each once. */
  readonly layers: readonly RealLayer[];
}

export const OURS = 'mirror-sync';
export const PROVEN = 'crane with proof';
export const GUNZIP = "Node's gunzip alone";

/** Tools that copy images and prove digests, but no diffIDs. */
export const PEERS = ['crane', 'regctl', 'regsync', 'skopeo'] as const;

const ROOT = join(import.meta.dirname, '../..');

/** The packed program (`npm run build`); $BENCH_CLI names another one, such as the sources: `lib/cli/main.ts`. */
export function mirrorSync(...args: string[]): [string, ...string[]] {
  return [process.execPath, resolve(ROOT, process.env['BENCH_CLI'] || 'dist/cli/mirror-sync.js'), ...args];
}

/** A script of this folder as a contestant. */
export function child(path: string, ...args: string[]): [string, ...string[]] {
  return [process.execPath, join(import.meta.dirname, path), ...args];
}

export function ours(host: string, images: Images): Contestant {
  return {
    name: OURS,
    prepare: (folder) => ({ argv: mirrorSync('sync', ...references(host, images), '--to', join(folder, 'archive')) }),
  };
}

/** The programs that copy into an OCI layout. */
export function peers(host: string, images: Images, tools: Tools): Contestant[] {
  const peer = (name: ToolName, prepare: (layout: string) => Command | Promise<Command>): Contestant => ({
    name,
    lacks: tools.lacks([name]),
    prepare: (folder) => prepare(join(folder, 'layout')),
  });
  const source = `${host}/${images.repository}`;
  return [
    peer('crane', (layout) => ({
      argv: [tools.path('crane'), 'pull', '--format=oci', ...references(host, images), layout],
    })),
    peer('regctl', (layout) => ({
      argv: each(
        '"$0" --host "reg=$1,tls=disabled" image copy "$2:$tag" "ocidir://$3:$tag"',
        [tools.path('regctl'), host, source, layout],
        images.tags,
      ),
    })),
    peer('regsync', async (layout) => ({
      argv: await regsync(tools, layout, { host, source, target: `ocidir://${layout}` }),
    })),
    peer('skopeo', (layout) => ({
      argv: each(
        '"$0" --insecure-policy copy --quiet --src-tls-verify=false "docker://$2:$tag" "oci:$3:$tag"',
        [tools.path('skopeo'), host, source, layout],
        images.tags,
      ),
    })),
  ];
}

/** crane with the proof of mirror-sync: every layer is unpacked and hashed, two at a time. */
export function craneWithProof(host: string, images: Images, tools: Tools): Contestant {
  const script = `
    layout=$1; diffids=$2; shift 2
    "$0" pull --format=oci "$@" "$layout" || exit
    xargs -P 2 -L 1 sh -c 'test "$(gzip -dc "$0/blobs/sha256/$1" | sha256sum)" = "$2  -" || exit 255' "$layout" < "$diffids"`;
  return {
    name: PROVEN,
    lacks: tools.lacks(['crane', 'gzip']),
    prepare: async (folder) => {
      const lines = images.layers.map(({ digest, diffId }) => `${hex(digest)} ${hex(diffId)}\n`);
      await writeFile(join(folder, 'diffids'), lines.join(''));
      const args = [tools.path('crane'), join(folder, 'layout'), join(folder, 'diffids')];
      return { argv: ['sh', '-c', script, ...args, ...references(host, images)] };
    },
  };
}

/** The minimum cost of a proof in Node.js: without network, hashes and writes. */
export function gunzipAlone({ layers }: Images): Contestant {
  return { name: GUNZIP, prepare: () => ({ argv: child('../children/gunzip.ts', ...layers.map(({ path }) => path)) }) };
}

/** `regsync once` over one repository; its configuration is written beside `base`. */
export async function regsync(
  tools: Tools,
  base: string,
  copy: { readonly host: string; readonly source: string; readonly target: string; readonly targetHost?: string },
): Promise<string[]> {
  const { host, source, target, targetHost } = copy;
  const hosts = targetHost === undefined ? [host] : [host, targetHost];
  const config = {
    version: 1,
    creds: hosts.map((registry) => ({ registry, tls: 'disabled' })),
    defaults: { parallel: 8, skipDockerConfig: true },
    sync: [{ source, target, type: 'repository', fastCheck: true }],
  };
  // JSON is YAML.
  const path = `${base}-${hosts.join('-').replaceAll(':', '_')}.yml`;
  await writeFile(path, JSON.stringify(config));
  return [tools.path('regsync'), 'once', '-c', path];
}

export function references(host: string, { repository, tags }: Omit<Images, 'layers'>): string[] {
  return tags.map((tag) => `${host}/${repository}:${tag}`);
}

/**
 * Runs `command` in a shell once per tag, with the tag in `$tag` and `args` in `$0`, `$1`, …; stops at the first
 * failure.
 */
function each(command: string, args: readonly string[], tags: readonly string[]): string[] {
  return ['sh', '-c', `set -e; for tag in ${tags.join(' ')}; do ${command}; done`, ...args];
}

function hex(digest: string): string {
  return digest.slice(digest.indexOf(':') + 1);
}
