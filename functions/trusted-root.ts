import { dirname, join, posix } from 'node:path';
import type { ConfigLocation } from '../lib/config/environment.ts';
import { libraryWith } from '../lib/signatures/trusted-root.ts';
import { keptFile, type ReadConfig } from './aws.ts';

/**
 * The trusted root of Sigstore that `mirror.yaml` names, from the same place; the last valid one while a new one cannot be used.
 * Undefined without one.
 */
export function trustedRootFrom(location: ConfigLocation, config: ReadConfig): () => Promise<Uint8Array | undefined> {
  const roots = new Map<string, () => Promise<Uint8Array>>();
  return async () => {
    const { trustedRoot: name } = await config();
    if (name === undefined) return undefined;
    const read = roots.get(name) ?? keptFile(beside(location, name), rootIn);
    roots.set(name, read);
    return read();
  };
}

async function rootIn(text: string, name: string): Promise<Uint8Array> {
  const bytes = Buffer.from(text);
  await libraryWith(bytes, `read trusted root ${name}`);
  return bytes;
}

function beside(location: ConfigLocation, name: string): ConfigLocation {
  if (location.kind === 'file') return { kind: 'file', path: join(dirname(location.path), name) };
  return { ...location, key: posix.join(posix.dirname(location.key), name) };
}
