import type { Archive } from '../archive/archive.ts';
import type { TagIndex } from '../archive/tag-index/tag-index.ts';
import { Lru } from '../core/lru.ts';
import { RegistryError } from './errors.ts';
import { candidatesFor } from './names.ts';
import type { NameRequest } from './routes.ts';

/** A repository of the archive, with its current tag index. */
export interface Repository {
  /** `docker.io/library/alpine` */
  readonly name: string;
  readonly index: TagIndex;
}

/** The number of names that are kept, so that a request for a blob reads no tag index. */
const KNOWN = 10_000;

/** Finds the repository of a request in the archive. */
export class Repositories {
  readonly #archive: Archive;
  readonly #defaultHost: string | undefined;
  readonly #known = new Lru<string, true>(KNOWN);

  constructor(archive: Archive, defaultHost: string | undefined) {
    this.#archive = archive;
    this.#defaultHost = defaultHost;
  }

  /** @throws RegistryError for a name that the archive lacks */
  async find(request: NameRequest, signal: AbortSignal): Promise<Repository> {
    for (const name of this.candidates(request)) {
      const found = await this.#archive.tagIndex(name, { signal });
      if (found === undefined) continue;
      this.#known.set(name, true);
      return { name, index: found.index };
    }
    throw this.#unknown(request);
  }

  /** @throws RegistryError for a name that the archive lacks */
  async require(request: NameRequest, signal: AbortSignal): Promise<void> {
    const candidates = this.candidates(request);
    if (candidates.some((name) => this.#known.get(name) === true)) return;
    const { store, layout } = this.#archive;
    for (const name of candidates) {
      if ((await store.head(layout.tagIndex(name), { signal })) === undefined) continue;
      this.#known.set(name, true);
      return;
    }
    throw this.#unknown(request);
  }

  /** The repositories that a name may mean, in the order of lookup. */
  candidates({ name, namespace }: NameRequest): readonly string[] {
    return candidatesFor(name, { namespace, defaultHost: this.#defaultHost });
  }

  #unknown(request: NameRequest): RegistryError {
    const candidates = this.candidates(request);
    const message =
      candidates.length === 0
        ? `${request.name} has no host; name it first, as in docker.io/library/alpine`
        : `the archive has no repository ${candidates.join(' or ')}`;
    return new RegistryError(404, 'NAME_UNKNOWN', message);
  }
}
