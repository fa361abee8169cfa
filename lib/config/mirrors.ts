/** What a configuration says, and the questions that others ask it. Reading the file is `config.ts`, which loads YAML. */
import type { Platform } from '../oci/platform.ts';
import type { TagSelection } from './tags.ts';

/** `mirror.yaml`, validated, with all defaults filled in. */
export interface Config {
  readonly registries: ReadonlyMap<string, Registry>;
  /** Connections to a registry that says nothing else, where the file says it. */
  readonly connections?: number;
  /** Hosts from which foreign layers are fetched, where the file says it. */
  readonly foreignHosts?: readonly string[];
  readonly limits?: Limits;
  readonly mirrors: readonly Mirror[];
}

/** What an operator allows registries to fill the archive with. */
export interface Limits {
  /** Bytes of an image. */
  readonly imageBytes?: number;
  /** Images that a run asks for. */
  readonly runImages?: number;
  /** Bytes that a run fetches. */
  readonly runBytes?: number;
}

/** A host, or an origin with a scheme. With `resolve: false` it serves content by digest, and does not decide what a tag means. */
type EndpointChoice = string | { readonly host: string; readonly resolve?: boolean };

export interface Registry {
  /** In the order in which they are asked. */
  readonly endpoints?: readonly EndpointChoice[];
  readonly insecure?: boolean;
  /** Whether what it names may lie in private networks, although it does not itself. */
  readonly privateAddresses?: boolean;
  readonly tokenService?: string;
  readonly connections?: number;
  /** The credentials' entry to use in place of the host's own; `false` to go without. */
  readonly credentials?: string | false;
}

/** One repository that is mirrored, and how. */
export interface Mirror {
  /** Upstream, normalised: `docker.io/library/alpine`. */
  readonly source: string;
  /** In the archive, normalised. */
  readonly repository: string;
  readonly tags: TagSelection;
  readonly platforms: 'all' | readonly Platform[];
  readonly foreignLayers?: 'skip';
  readonly strictMediaTypes?: true;
}

/** The mirrors of an upstream repository (`docker.io/library/alpine`); none where it is not mirrored. */
export function mirrorsOf(config: Config, repository: string): readonly Mirror[] {
  return config.mirrors.filter(({ source }) => source === repository);
}

/** What a registry client needs of the configuration. */
export interface RegistrySettings {
  readonly endpoints: Readonly<Record<string, readonly EndpointChoice[]>>;
  readonly insecure: readonly string[];
  readonly privateAddresses: readonly string[];
  readonly foreignHosts: readonly string[] | undefined;
  /** By host of a registry. */
  readonly tokenServices: Readonly<Record<string, string>>;
  /** Connections to a host, which is also how many layers are fetched from it at once. */
  readonly connections: (host: string) => number;
  /** The name under which a host's credentials are looked for; `false` where it goes without. */
  readonly credentials: (host: string) => string | false;
}

/** @param connections what a registry is allowed where the file says nothing */
export function registrySettings(config: Config, connections: number): RegistrySettings {
  const entries = [...config.registries];
  return {
    endpoints: Object.fromEntries(
      entries.flatMap(([host, { endpoints }]) => (endpoints === undefined ? [] : [[host, endpoints] as const])),
    ),
    insecure: entries.filter(([, { insecure }]) => insecure === true).map(([host]) => host),
    tokenServices: Object.fromEntries(
      entries.flatMap(([host, { tokenService }]) => (tokenService === undefined ? [] : [[host, tokenService]])),
    ),
    privateAddresses: entries.filter(([, { privateAddresses }]) => privateAddresses === true).map(([host]) => host),
    foreignHosts: config.foreignHosts,
    connections: (host) => config.registries.get(host)?.connections ?? config.connections ?? connections,
    credentials: (host) => config.registries.get(host)?.credentials ?? host,
  };
}
