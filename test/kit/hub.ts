import { writeFile } from 'node:fs/promises';
import type { Pushable } from './images.ts';
import { startRegistry, type TestRegistry } from './registry.ts';
import { tempFolder, type TempFolder } from './temp.ts';

/** A registry on loopback that stands in for Docker Hub, and a `mirror.yaml` that mirrors its repository `library/app`. */
export interface Hub extends AsyncDisposable {
  readonly upstream: TestRegistry;
  readonly folder: TempFolder;
  /** The path of an archive that does not exist yet. */
  readonly archive: string;
  /** The path of `mirror.yaml`. */
  readonly config: string;
}

/** @param tags the filter of the mirror, in YAML */
export async function startHub(images: Readonly<Record<string, Pushable>>, tags: string): Promise<Hub> {
  const [upstream, folder] = await Promise.all([startRegistry(), tempFolder()]);
  for (const [tag, image] of Object.entries(images)) upstream.push('library/app', image, tag);
  const config = folder.join('mirror.yaml');
  const registries = `registries: { docker.io: { endpoints: ['http://${upstream.host}'] } }`;
  await writeFile(config, `version: 1\n${registries}\nmirrors: [{ source: app, tags: ${tags} }]\n`);
  return {
    upstream,
    folder,
    archive: folder.join('archive'),
    config,
    [Symbol.asyncDispose]: async () => {
      await upstream.close();
      await folder.remove();
    },
  };
}
