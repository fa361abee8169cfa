/** The parts of an image that are compared. Pure. Their values are untrusted. */
import { own } from '../core/own.ts';
import { arrayOf, listOf, objectIn, objectOf, textOf } from '../core/untyped.ts';
import type { Digest } from '../oci/digest.ts';
import type { Manifest } from '../oci/manifest.ts';

/** Layers, or the blobs of an artifact, with their bytes. A schema 1 manifest has no sizes. */
export type Layers = ReadonlyMap<Digest, number | undefined>;

/** The settings of a container in the config of an image. An empty text and an empty list count as missing. */
export interface Settings {
  readonly user: string | undefined;
  readonly entrypoint: readonly string[] | undefined;
  readonly command: readonly string[] | undefined;
  /** Values by name. Values are compared and never printed, because one may be a secret. */
  readonly environment: ReadonlyMap<string, string>;
  readonly labels: ReadonlyMap<string, string>;
}

export function layersOf(manifest: Manifest): Layers {
  switch (manifest.kind) {
    case 'image':
      return new Map(manifest.layers.map(({ digest, size }) => [digest, size]));
    case 'artifact':
      return new Map(manifest.blobs.map(({ digest, size }) => [digest, size]));
    case 'schema1':
      return new Map(manifest.layers.filter(({ throwaway }) => !throwaway).map(({ digest }) => [digest, undefined]));
    case 'index':
      return new Map();
  }
}

/** The settings in the bytes of a config; undefined for bytes that are not a JSON object. */
export function settingsIn(config: Uint8Array): Settings | undefined {
  const document = objectIn(config);
  return document === undefined ? undefined : settingsOf(document);
}

/** The settings in a config, or in the newest `v1Compatibility` of a schema 1 manifest. */
export function settingsOf(document: Readonly<Record<string, unknown>>): Settings {
  const config = objectOf(own(document, 'config'));
  const user = textOf(own(config, 'User'));
  const labels = Object.entries(objectOf(own(config, 'Labels')));
  return {
    user: user === '' ? undefined : user,
    entrypoint: wordsOf(own(config, 'Entrypoint')),
    command: wordsOf(own(config, 'Cmd')),
    environment: new Map(arrayOf(own(config, 'Env')).flatMap((line) => variableIn(textOf(line)))),
    labels: new Map(labels.map(([name, value]) => [name, textOf(value)])),
  };
}

/** Older configs have one text for a list. */
function wordsOf(value: unknown): readonly string[] | undefined {
  const words = typeof value === 'string' ? [value].filter((word) => word !== '') : listOf(value);
  return words.length === 0 ? undefined : words;
}

/** `NAME=value`; on Windows, the name of a hidden variable begins with `=`. */
function variableIn(line: string): readonly (readonly [name: string, value: string])[] {
  if (line === '') return [];
  const at = line.indexOf('=', 1);
  return [at < 0 ? [line, ''] : [line.slice(0, at), line.slice(at + 1)]];
}
