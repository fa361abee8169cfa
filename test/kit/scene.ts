/** A registry, and a folder for an archive, for tests of the command line. */
import { onTestFinished } from 'vitest';
import { startRegistry, type TestRegistry } from './registry.ts';
import { tempFolder, type TempFolder } from './temp.ts';

export interface Scene {
  readonly registry: TestRegistry;
  readonly folder: TempFolder;
  /** The path of the archive, which does not exist yet. */
  readonly archive: string;
}

/** Call it in `beforeEach`. The end of the test closes the registry and removes the folder. */
export async function openScene(): Promise<Scene> {
  const [registry, folder] = await Promise.all([startRegistry(), tempFolder()]);
  onTestFinished(async () => {
    await registry.close();
    await folder.remove();
  });
  return { registry, folder, archive: folder.join('archive') };
}
