import { Failure, invalid } from '../core/failure.ts';
import { formatRepository, parseRepository, type Repository } from '../oci/reference.ts';
import { printable, show } from '../oci/show.ts';

/** The template of a repository that keeps its name. */
export const SAME_NAME = '{host}/{path}';

const PLACEHOLDER = /\{([^{}]*)\}/g;

/**
 * The archive's repository for a source: the template with `{host}` (`docker.io`), `{path}` (`library/alpine`) and `{name}`
 * (`alpine`) filled in. A colon is not allowed after the first slash, so `_` separates a port there, as in the
 * archive's folders.
 *
 * @throws {Failure} `invalid` where the result is not a repository written in full, host first
 */
export function destinationOf(template: string, source: Repository): string {
  const wrong = (detail: string): Failure => invalid(`fill in destination ${show(template)}`, detail);
  const firstSlash = template.indexOf('/');
  const filled = template.replace(PLACEHOLDER, (whole, name: string, at: number) => {
    switch (name) {
      case 'host':
        return firstSlash >= 0 && at > firstSlash ? hostInPath(source.host) : source.host;
      case 'path':
        return source.path;
      case 'name':
        return source.path.slice(source.path.lastIndexOf('/') + 1);
      default:
        throw wrong(`unknown placeholder ${printable(whole)} (available: {host}, {path}, {name})`);
    }
  });
  const of = `for ${formatRepository(source)} it becomes ${show(filled)}`;
  let repository: string;
  try {
    repository = formatRepository(parseRepository(filled));
  } catch (error) {
    throw error instanceof Failure ? wrong(`${of}, which is not a repository (${error.detail})`) : error;
  }
  // Otherwise `team/app` would unexpectedly become docker.io/team/app.
  if (repository !== filled)
    throw wrong(`${of}; write it in full and host first, as in ${repository} or mirror.example.com/…`);
  return repository;
}

/** A host as a component of a path: `registry.example.com_5000`; an IPv6 address as `ipv6-fe80--1_5000`. */
function hostInPath(host: string): string {
  const [, address, port = ''] = /^\[(.*)\](?::(\d+))?$/.exec(host) ?? [];
  if (address === undefined) return host.toLowerCase().replace(':', '_');
  const text = address.toLowerCase().replace(/::$/, '::0').replaceAll(':', '-');
  return `ipv6-${text}${port === '' ? '' : `_${port}`}`;
}
