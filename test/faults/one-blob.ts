/** One large blob in any store, for the tests with interrupted and killed downloads. */
import { FolderStore } from '../../lib/store/folder/store.ts';
import { S3Store } from '../../lib/store/s3/store.ts';
import { parseS3Url } from '../../lib/store/s3/url.ts';
import type { ObjectStore } from '../../lib/store/store.ts';
import type { Sources } from '../../lib/registry/source.ts';
import { createSources } from '../../lib/registry/sources.ts';
import type { Faults } from '../kit/faults.ts';
import { mirror, type Mirrored } from '../kit/mirror.ts';

export interface OpenStore extends AsyncDisposable {
  readonly store: ObjectStore;
}

/** The store with this name and parts of this size; S3 is configured by the environment. */
export function openStore(name: string, partBytes: number): OpenStore {
  const opened = name.startsWith('s3:') ? new S3Store(parseS3Url(name)) : new FolderStore(name);
  const store = new Proxy<ObjectStore>(opened, {
    get(_, key) {
      const value: unknown = Reflect.get(opened, key, opened);
      if (key === 'limits') return { ...opened.limits, usualPartBytes: partBytes };
      return typeof value === 'function' ? (value.bind(opened) as unknown) : value;
    },
  });
  return { store, [Symbol.asyncDispose]: () => opened.close() };
}

/** Mirrors `host/team/big:1`. The sources may be wrapped, and every port may be behind `faults`. */
export async function bring(
  host: string,
  store: ObjectStore,
  options: { readonly faults?: Faults; readonly wrap?: (sources: Sources) => Sources } = {},
): Promise<Mirrored> {
  const { faults, wrap } = options;
  const sources = createSources({ sleep: () => Promise.resolve() });
  try {
    const wrapped = wrap?.(sources) ?? sources;
    return await mirror({
      store: faults?.wrap(store, 'archive') ?? store,
      sources: faults?.wrap(wrapped, 'source') ?? wrapped,
      references: [`${host}/team/big:1`],
    });
  } finally {
    await sources.close();
  }
}
