/** The configuration of one client program, as files to print or to write. */

import { requestName } from '../../serve/names.ts';

export interface ClientOptions {
  /** The address of the served archive, without a path: `https://mirror.example.com`. */
  readonly registry: URL;
  /** The registries whose images the client pulls through the archive: `docker.io`. */
  readonly hosts: readonly string[];
  /** Whether the client must not continue with the registry itself. */
  readonly exclusive: boolean;
}

export interface ConfigFile {
  /** Where the client reads it: `/etc/docker/daemon.json`. */
  readonly path: string;
  /** Its path below `--output`. */
  readonly name: string;
  readonly text: string;
  /** Whether the format has comments. */
  readonly hasComments: boolean;
}

export interface ClientConfig {
  readonly files: readonly ConfigFile[];
  /** Limits and further steps for the operator, a sentence each. */
  readonly notes: readonly string[];
}

export type Client = (options: ClientOptions) => ClientConfig;

export function isPlain(registry: URL): boolean {
  return registry.protocol === 'http:';
}

/** A host as the first part of a name in the archive: `localhost_5000`. */
export function inNames(host: string): string {
  const name = requestName(`${host}/x`);
  return name === undefined ? host : name.slice(0, name.indexOf('/'));
}
