import { type Failure, invalid } from '../base/failure.ts';
import { formatRepository, parseRepository, type Repository } from '../oci/reference.ts';
import { show } from '../oci/show.ts';

/** Everything under its own name. */
export const SAME_NAME = '{host}/{path}';

const PLACEHOLDER = /\{([^{}]*)\}/g;

/**
 * The archive's repository for a source: the template with `{host}` (`docker.io`), `{path}` (`library/alpine`) and
 * `{name}` (`alpine`) filled in.
 *
 * @throws {Failure} `invalid` where the result is no repository written in full, host first
 */
export function destinationOf(template: string, source: Repository): string {
  const wrong = (detail: string): Failure => invalid(`fill in destination ${show(template)}`, detail);
  const values: ReadonlyMap<string, string> = new Map([
    ['host', source.host],
    ['path', source.path],
    ['name', source.path.slice(source.path.lastIndexOf('/') + 1)],
  ]);
  const filled = template.replace(PLACEHOLDER, (whole, name: string) => {
    const value = values.get(name);
    if (value === undefined) throw wrong(`${whole} is no placeholder; there are {host}, {path} and {name}`);
    return value;
  });
  const repository = formatRepository(parseRepository(filled));
  // Else `team/app` would land under docker.io, where nobody looks for it.
  if (repository !== filled)
    throw wrong(
      `it becomes ${show(filled)}; write it in full and host first, as in ${repository} or mirror.example.com/…`,
    );
  return repository;
}
