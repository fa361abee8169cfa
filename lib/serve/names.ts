/** Maps a requested name to repositories of the archive. Pure. */
import { Failure } from '../core/failure.ts';
import { formatRepository, parseRepository } from '../oci/reference.ts';
import { show } from '../oci/show.ts';
import { RegistryError } from './errors.ts';

/** `registry.example.com_5000`, since a name must not contain a colon. */
const WITH_PORT = /^(.+)_([1-9]\d{0,4})$/;

export interface NameOptions {
  /** The host of names that have no host. */
  readonly defaultHost: string | undefined;
  /** The host that a client such as containerd sends in the query. */
  readonly namespace: string | undefined;
}

/**
 * The repositories that a name may mean, in the order of lookup.
 *
 * @throws RegistryError for a namespace that is not a host
 */
export function candidatesFor(name: string, { namespace, defaultHost }: NameOptions): readonly string[] {
  const found = new Set<string>();
  const add = (host: string, path: string): void => {
    const repository = repositoryOf(host, path);
    if (repository !== undefined) found.add(repository);
  };
  if (namespace !== undefined) {
    const host = namespace.replace(WITH_PORT, '$1:$2');
    if (repositoryOf(host, 'x') === undefined)
      throw new RegistryError(400, 'NAME_INVALID', `ns=${show(namespace)} is not a host`);
    add(host, name);
  }
  const slash = name.indexOf('/');
  if (slash > 0) add(name.slice(0, slash).replace(WITH_PORT, '$1:$2'), name.slice(slash + 1));
  if (defaultHost !== undefined) add(defaultHost, name);
  return [...found];
}

/** The name of a repository in requests; undefined if its host cannot be part of a name. */
export function requestName(repository: string): string | undefined {
  const slash = repository.indexOf('/');
  const host = repository.slice(0, slash).replace(/:(\d+)$/, '_$1');
  return host.includes(':') ? undefined : host + repository.slice(slash);
}

/** Undefined if the host or the path is invalid. */
function repositoryOf(host: string, path: string): string | undefined {
  // The parser takes any other host for a user of Docker Hub.
  if (host !== 'localhost' && !/[.:]/.test(host)) return undefined;
  try {
    return formatRepository(parseRepository(`${host}/${path}`));
  } catch (error) {
    if (error instanceof Failure && error.code === 'invalid') return undefined;
    throw error;
  }
}
