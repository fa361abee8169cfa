/** The repositories of the archive that a requested name may mean. Pure. */
import { Failure } from '../core/failure.ts';
import { formatRepository, parseRepository } from '../oci/reference.ts';
import { show } from '../oci/show.ts';
import { RegistryError } from './errors.ts';

/** `registry.example.com_5000`: a colon is not allowed in a name. */
const WITH_PORT = /^(.+)_([1-9]\d{0,4})$/;

export interface NameOptions {
  /** The host of names that have none. */
  readonly defaultHost: string | undefined;
  /** The host that the client names beside the path, as containerd does. */
  readonly namespace: string | undefined;
}

/**
 * In the order in which they are looked up.
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

/** The name by which a client asks for a repository; undefined for a host that no name can have. */
export function requestName(repository: string): string | undefined {
  const slash = repository.indexOf('/');
  const host = repository.slice(0, slash).replace(/:(\d+)$/, '_$1');
  return host.includes(':') ? undefined : host + repository.slice(slash);
}

/** Undefined where `host` is not a host, or the path is not one. */
function repositoryOf(host: string, path: string): string | undefined {
  // Without one of these, the parser takes the host for a user of Docker Hub.
  if (host !== 'localhost' && !/[.:]/.test(host)) return undefined;
  try {
    return formatRepository(parseRepository(`${host}/${path}`));
  } catch (error) {
    if (error instanceof Failure && error.code === 'invalid') return undefined;
    throw error;
  }
}
