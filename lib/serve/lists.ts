import type { Archive } from '../archive/archive.ts';
import type { TagIndex } from '../archive/tag-index/tag-index.ts';
import { json } from './answers.ts';
import { requestName } from './names.ts';
import { indexAt } from './past.ts';
import { pageOf } from './pages.ts';
import type { NameRequest, Route } from './routes.ts';

/** Lists of tags and repositories. */
export class Lists {
  readonly #archive: Archive;

  constructor(archive: Archive) {
    this.#archive = archive;
  }

  tags(request: Request, { name, path, parameters }: NameRequest, index: TagIndex, asOf: number | undefined): Response {
    const entries = indexAt(index, asOf).entries();
    const { names: tags, link } = pageOf(
      entries.flatMap(({ tag }) => tag ?? []),
      parameters,
      path,
    );
    return json(request, { name, tags }, link === undefined ? {} : { link });
  }

  async catalog(request: Request, { path, parameters }: Route & { readonly kind: 'catalog' }): Promise<Response> {
    const names = new Set<string>();
    for await (const repository of this.#archive.repositories({ signal: request.signal })) {
      const name = requestName(repository);
      if (name !== undefined) names.add(name);
    }
    const { names: repositories, link } = pageOf([...names].sort(), parameters, path);
    return json(request, { repositories }, link === undefined ? {} : { link });
  }
}
