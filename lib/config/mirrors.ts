/**
 * The configuration, and the functions that query it. `config.ts` reads the file, and only it loads the YAML library.
 */
import type { Platform } from '../oci/platform.ts';
import type { Policy } from '../policy/policy.ts';
import type { TagSelection } from './tags.ts';

/** `mirror.yaml`, validated, with all defaults filled in. */
export interface Config {
  readonly registries: ReadonlyMap<string, Registry>;
  /** Connections to each registry without a setting of its own. */
  readonly connections?: number;
  /** Hosts from which foreign layers are fetched. */
  readonly foreignHosts?: readonly string[];
  readonly limits?: Limits;
  /** A file beside the configuration, with the trusted root of Sigstore. */
  readonly trustedRoot?: string;
  readonly mirrors: readonly Mirror[];
}

/** The operator's limits on the space that registries may fill. */
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
  /**
   * Whether its redirects, token services and foreign layers may be in private networks although its own address is
   * public.
   */
  readonly privateAddresses?: boolean;
  readonly tokenService?: string;
  readonly connections?: number;
  /** The entry of the credentials to use instead of the host's own; `false` for none. */
  readonly credentials?: string | false;
}

/** One repository that is mirrored, and its settings. */
export interface Mirror {
  /** Upstream, normalised: `docker.io/library/alpine`. */
  readonly source: string;
  /** In the archive, normalised. */
  readonly repository: string;
  readonly tags: TagSelection;
  readonly platforms: 'all' | readonly Platform[];
  readonly foreignLayers?: 'skip';
  readonly strictMediaTypes?: true;
  /** Undefined without any setting of a policy. */
  readonly policy?: Policy;
}

/** The mirrors of an upstream repository (`docker.io/library/alpine`). */
export function mirrorsOf(config: Config, repository: string): readonly Mirror[] {
  return config.mirrors.filter(({ source }) => source === repository);
}

/** The settings of the configuration that a registry client needs. */
export interface RegistrySettings {
  readonly endpoints: Readonly<Record<string, readonly EndpointChoice[]>>;
  readonly insecure: readonly string[];
  readonly privateAddresses: readonly string[];
  readonly foreignHosts: readonly string[] | undefined;
  /** By host of a registry. */
  readonly tokenServices: Readonly<Record<string, string>>;
  /** Connections to a host, and layers that are fetched from it concurrently. */
  readonly connections: (host: string) => number;
  /** The name of a host's entry in the credentials; `false` for none. */
  readonly credentials: (host: string) => string | false;
}

/** @param connections the connections of a registry for which the file has no setting */
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
