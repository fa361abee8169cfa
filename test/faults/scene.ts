/**
 * The mirror of the fault tests: a tag that has moved to an index of two platforms, which share a layer of several parts,
 * and an image of two layers in a repository that is new to the archive.
 */
import { cp } from 'node:fs/promises';
import { FolderStore } from '../../lib/store/folder/store.ts';
import type { ObjectStore } from '../../lib/store/store.ts';
import type { Sources } from '../../lib/registry/source.ts';
import { createSources } from '../../lib/registry/sources.ts';
import type { Faults } from '../kit/faults.ts';
import { makeImage, makeIndex, makeLayer } from '../kit/images.ts';
import { mirror, type Mirrored } from '../kit/mirror.ts';
import { startRegistry, type TestRegistry } from '../kit/registry.ts';
import { tempFolder, type TempFolder } from '../kit/temp.ts';

/** The smallest part size of a folder: the large layer has four parts. */
const PART_BYTES = 64 * 1024;

const BASE = makeLayer({ seed: 1, size: 200_000 });
export const BEFORE = makeImage({ layers: [makeLayer({ seed: 9 })] });
export const AFTER = makeIndex([
  makeImage({ layers: [BASE, makeLayer({ seed: 2 })], platform: { os: 'linux', architecture: 'amd64' } }),
  makeImage({
    layers: [BASE, makeLayer({ seed: 3, compression: 'zstd' })],
    platform: { os: 'linux', architecture: 'arm64' },
  }),
]);
export const NEW = makeImage({ layers: [makeLayer({ seed: 4 }), makeLayer({ seed: 5, compression: 'none' })] });

export function references(host: string): readonly [moved: string, added: string] {
  return [`${host}/team/app:1`, `${host}/team/new:1`];
}

/** Copies of the archive before the tag moved, and the registry after it. */
export class Scene implements AsyncDisposable {
  readonly registry: TestRegistry;
  readonly #before: TempFolder;

  private constructor(registry: TestRegistry, before: TempFolder) {
    this.registry = registry;
    this.#before = before;
  }

  static async open(): Promise<Scene> {
    const [registry, before] = await Promise.all([startRegistry(), tempFolder()]);
    registry.push('team/app', BEFORE, '1');
    const [moved] = references(registry.host);
    await using store = new FolderStore(before.path);
    await mirror({ store, references: [moved] });
    registry.push('team/app', AFTER, '1');
    registry.push('team/new', NEW, '1');
    return new Scene(registry, before);
  }

  /** Creates a copy for one run, with a registry that has had no requests. */
  async archive(): Promise<TempFolder> {
    const folder = await tempFolder();
    await cp(this.#before.path, folder.path, { recursive: true });
    this.registry.forgetRequests();
    return folder;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.registry.close();
    await this.#before.remove();
  }
}

/** Mirrors into the folder, with every port behind `faults`. */
export async function run(host: string, folder: string, faults?: Faults): Promise<Mirrored> {
  await using folderStore = new FolderStore(folder);
  const store = withSmallParts(folderStore);
  const sources = createSources({ sleep: () => Promise.resolve() });
  try {
    return await mirror({
      store: faults?.wrap(store, 'archive') ?? store,
      sources: faults?.wrap<Sources>(sources, 'source') ?? sources,
      references: references(host),
      ...(faults === undefined ? {} : { wrapQueues: (queues) => faults.wrap(queues, 'queue') }),
    });
  } finally {
    await sources.close();
  }
}

function withSmallParts(store: FolderStore): ObjectStore {
  return new Proxy<ObjectStore>(store, {
    get(_, key) {
      const value: unknown = Reflect.get(store, key, store);
      if (key === 'limits') return { ...store.limits, usualPartBytes: PART_BYTES };
      return typeof value === 'function' ? (value.bind(store) as unknown) : value;
    },
  });
}
