import { defined } from '../core/defined.ts';
import { refuseFoldedSettings } from './config.ts';
import type { Digest } from './digest.ts';
import { Place } from './document.ts';
import { MANIFEST_LIMITS } from './limits.ts';
import { show } from './show.ts';

const OPERATION = 'parse manifest';

/** Nearly all manifests have one signature; the rest is room for manifests that were signed again. */
const MAX_SIGNATURES = 32;

/**
 * The limit for the arguments of a command, which is that of execve(2) on Linux. They become only a line of history.
 */
const MAX_ARGUMENTS = 64 * 1024;

/** An image whose config is spread over its layers (Docker image manifest v2, schema 1), checked as Docker checks it. */
export interface Schema1Manifest {
  readonly kind: 'schema1';
  readonly mediaType: string;
  readonly name: string;
  readonly tag: string;
  readonly architecture: string;
  /** Base first, without layers whose id repeats the one below. */
  readonly layers: readonly Schema1Layer[];
  /** The payload: the bytes that the signatures and the digest cover. */
  readonly payload: Uint8Array;
}

export interface Schema1Layer {
  readonly digest: Digest;
  /** Whether the step changed only the config; its blob is then an empty layer that is not part of the image. */
  readonly throwaway: boolean;
  readonly history: LayerHistory;
  /** The layer's `v1Compatibility`: config, history and id. */
  readonly v1: Readonly<Record<string, unknown>>;
}

/** An image config's `history` entry, without `empty_layer`, with the fields in moby's order. */
export interface LayerHistory {
  readonly created?: string;
  readonly author?: string;
  readonly created_by?: string;
  readonly comment?: string;
}

/**
 * The bytes that the digest of a schema 1 manifest covers. A signed manifest contains its signatures before the end of
 * the signed document. The protected header of every signature states the length of the document before them
 * (`formatLength`) and the bytes after them (`formatTail`). A manifest without signatures is itself the payload: the
 * same array is returned.
 *
 * Neither this function nor Docker checks the signatures: they contain their own keys, so any key would pass.
 */
export function signedPayload(bytes: Uint8Array): Uint8Array {
  return readPayload(Place.ofContent(OPERATION, bytes), bytes);
}

export function readPayload(root: Place, bytes: Uint8Array): Uint8Array {
  const [first, ...others] = root.at('signatures').optionalList(MAX_SIGNATURES) ?? [];
  if (first === undefined) return bytes;
  const format = readFormat(first);
  for (const other of others) {
    const { length, tail } = readFormat(other);
    if (length !== format.length || !tail.equals(format.tail)) throw other.fail('is of another payload than the first');
  }
  if (format.length > bytes.length)
    throw first.fail(`signs ${format.length} bytes, and the manifest has ${bytes.length}`);
  return Buffer.concat([bytes.subarray(0, format.length), format.tail]);
}

function readFormat(signature: Place): { length: number; tail: Buffer } {
  const header = signature.at('protected').embedded();
  return { length: header.at('formatLength').size(), tail: header.at('formatTail').base64url() };
}

/**
 * @param root the payload's root, and not the signed document's: the digest covers the payload alone
 */
export function readSchema1(root: Place, payload: Uint8Array, mediaType: string): Schema1Manifest {
  const version = root.at('schemaVersion');
  if (version.integer() !== 1)
    throw version.fail(`must be 1 for this kind of manifest, not ${version.integer()}`, 'unsupported');
  return {
    kind: 'schema1',
    mediaType,
    name: root.at('name').optionalText() ?? '',
    tag: root.at('tag').optionalText() ?? '',
    architecture: root.at('architecture').optionalText() ?? '',
    layers: readLayers(root),
    payload,
  };
}

interface Entry {
  readonly place: Place;
  readonly id: string;
  readonly parent: string | undefined;
  readonly isWindows: boolean;
  readonly layer: Schema1Layer;
}

/** The checks are those of moby's `verifySchema1Manifest` and `fixManifestLayers` (distribution/pull_v2.go). */
function readLayers(manifest: Place): Schema1Layer[] {
  const blobs = manifest.at('fsLayers').list(MANIFEST_LIMITS.layers);
  const history = manifest.at('history').list(MANIFEST_LIMITS.layers);
  if (blobs.length !== history.length)
    throw manifest.fail(`fsLayers has ${blobs.length} elements and history ${history.length} (expected equal numbers)`);
  if (blobs.length === 0) throw manifest.fail('fsLayers is empty: an image has at least one layer');
  // The document lists the newest layer first.
  const entries = blobs.map((blob, index) => readEntry(blob, history[index] as Place)).reverse();

  const layers: Schema1Layer[] = [];
  const ids = new Set<string>();
  let below: Entry | undefined;
  for (const entry of entries) {
    if (entry.id !== below?.id) {
      if (ids.has(entry.id)) throw entry.place.fail(`the id ${entry.id} appears twice, with others in between`);
      checkParent(entry, below);
      ids.add(entry.id);
      layers.push(entry.layer);
    }
    below = entry;
  }
  return layers;
}

function readEntry(blob: Place, history: Place): Entry {
  const place = history.at('v1Compatibility').json();
  const id = place.at('id').text();
  if (!/^[0-9a-f]{64}$/.test(id)) throw place.at('id').fail(`must be 64 hex digits, not ${show(id)}`);
  return {
    place,
    id,
    parent: place.at('parent').optionalText(),
    isWindows: place.at('os').is('windows'),
    layer: {
      digest: blob.at('blobSum').digest(),
      throwaway: place.at('throwaway').optionalFlag(),
      history: readHistory(place),
      v1: place.object(),
    },
  };
}

function readHistory(place: Place): LayerHistory {
  const container = place.at('container_config');
  refuseFoldedSettings(place);
  return defined({
    created: place.at('created').optionalText(),
    author: place.at('author').optionalText(),
    created_by: container.given ? readCommand(container.at('Cmd')) : undefined,
    comment: place.at('comment').optionalText(),
  });
}

/** An array of arguments, or one string in older manifests. */
function readCommand(place: Place): string | undefined {
  if (!place.isList) return place.optionalText();
  const command = place.list(MAX_ARGUMENTS).map((argument) => argument.text());
  return command.length === 0 ? undefined : command.join(' ');
}

function checkParent(entry: Entry, below: Entry | undefined): void {
  const { place, parent } = entry;
  // Windows base layers were not distributed, so their parent is a layer that the host already has.
  if (below === undefined && parent !== undefined && !entry.isWindows)
    throw place.at('parent').fail(`must not be set in the base layer, and is ${show(parent)}`);
  if (below !== undefined && parent !== below.id)
    throw place.at('parent').fail(`must be ${below.id}, the id of the layer below, not ${show(parent)}`);
}
