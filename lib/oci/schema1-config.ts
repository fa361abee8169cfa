import { Failure } from '../core/failure.ts';
import type { Digest } from './digest.ts';
import type { Schema1Manifest } from './schema1.ts';

/** Fields that belong to a layer, and not to the config of the image. */
const LAYER_FIELDS = ['id', 'parent', 'Size', 'parent_id', 'layer_id', 'throwaway'];

/**
 * Before Docker 1.8.3 `v1Compatibility` could hold anything; for those versions moby keeps only the fields that it
 * knows.
 */
const NO_FALLBACK_SINCE = [1, 8, 3];
const V1_FIELDS: ReadonlySet<string> = new Set([
  'comment',
  'created',
  'container',
  'container_config',
  'docker_version',
  'author',
  'config',
  'architecture',
  'variant',
  'os',
]);

/**
 * Builds the image config that moby builds for a schema 1 image (MakeConfigFromV1Config): the newest layer's config,
 * the history of all layers, and the diffIDs, which only the layers themselves can prove. Keys are sorted, and `<`, `>`
 * and `&` are escaped as in Go's encoder, so that the same manifest always gives the same config. For images from
 * before Docker 1.8.3 moby also normalises nested objects; here they stay as they are.
 *
 * @param diffIds of the layers that are not throwaway, base first
 * @throws {Failure} `layers-mismatch` where there are more or fewer
 */
export function imageConfigFromSchema1(manifest: Schema1Manifest, diffIds: readonly Digest[]): Uint8Array {
  const kept = manifest.layers.filter((layer) => !layer.throwaway).length;
  if (diffIds.length !== kept)
    throw new Failure({
      operation: 'make image config from schema 1',
      side: 'input',
      code: 'layers-mismatch',
      detail: `${diffIds.length} diffIDs for ${kept} layers`,
    });
  const newest = manifest.layers.at(-1)?.v1 ?? {};
  const old = isBefore(newest['docker_version'], NO_FALLBACK_SINCE);
  const fields = Object.entries(newest).filter(
    ([key, value]) => !LAYER_FIELDS.includes(key) && (!old || (V1_FIELDS.has(key) && value !== null && value !== '')),
  );
  const config = Object.fromEntries([
    ...fields,
    [
      'history',
      manifest.layers.map(({ history, throwaway }) => (throwaway ? { ...history, empty_layer: true } : history)),
    ],
    ['rootfs', { type: 'layers', diff_ids: diffIds }],
  ]);
  const sorted = Object.fromEntries(Object.entries(config).sort(([one], [other]) => (one < other ? -1 : 1)));
  return Buffer.from(escapeLikeGo(JSON.stringify(sorted)));
}

/**
 * Compares versions number by number, as moby does; a part that is not a number counts as 0 (`1.8.3-rc1` is `1.8.0`).
 */
function isBefore(version: unknown, other: readonly number[]): boolean {
  const numbers =
    typeof version === 'string' ? version.split('.').map((part) => (/^\d+$/.test(part) ? Number(part) : 0)) : [];
  for (const [index, theirs] of other.entries()) {
    const ours = numbers[index] ?? 0;
    if (ours !== theirs) return ours < theirs;
  }
  return false;
}

function escapeLikeGo(json: string): string {
  return json.replace(
    /[<>&\u2028\u2029]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
