/** `mirror-sync serve` over an archive of every kind of image that the tests mirror from a registry on loopback. */
import { mirrorSync, type Ended, type Environment, type Running, startMirrorSync, summaryOf } from './command-line.ts';
import { makeImage, makeIndex, makeLayer, type Pushable } from './images.ts';
import { KINDS } from './kinds.ts';
import { startRegistry, type TestRegistry } from './registry.ts';
import { makeSchema1 } from './schema1.ts';
import { tempFolder, type TempFolder } from './temp.ts';

export const LAYERS = [makeLayer({ seed: 1, size: 200_000 }), makeLayer({ seed: 2 })];
export const INDEX = makeIndex([makeImage({ layers: LAYERS }), makeImage({ layers: LAYERS.slice(0, 1) })]);
/** By tag. */
export const IMAGES: ReadonlyMap<string, Pushable> = new Map([
  ...KINDS.map(({ image }, at) => [`kind-${at}`, image] as const),
  // The archive has the payload without its signatures, because the digest covers the payload only.
  ['schema1', makeSchema1({ signed: false })],
  ['index', INDEX],
  ['nested', makeIndex([INDEX, makeImage({ layers: [makeLayer({ seed: 3 })] })])],
]);
export interface Mirrored extends AsyncDisposable {
  /** The upstream; its repository is `team/app`. */
  readonly registry: TestRegistry;
  /** A folder with the archive, for files of the tests as well. */
  readonly folder: TempFolder;
  readonly archive: string;
  /** `HOST_PORT/team/app`, the name of the repository in requests. */
  readonly name: string;
}

/** Mirrors the images into a folder archive. */
export async function mirrorImages(images: ReadonlyMap<string, Pushable> = IMAGES): Promise<Mirrored> {
  const [registry, folder] = await Promise.all([startRegistry(), tempFolder()]);
  const archive = folder.join('archive');
  for (const [tag, image] of images) registry.push('team/app', image, tag);
  const synced = await mirrorSync(['sync', `${registry.host}/team/app`, '--all-tags', '--to', archive, '--json']);
  const { failed } = summaryOf(synced);
  if (failed > 0) throw new Error(`${failed} images failed:\n${synced.stdout}${synced.stderr}`);
  return {
    registry,
    folder,
    archive,
    name: `${registry.host.replace(':', '_')}/team/app`,
    [Symbol.asyncDispose]: async () => {
      await registry.close();
      await folder.remove();
    },
  };
}

export interface Serving extends AsyncDisposable {
  /** `127.0.0.1:PORT` */
  readonly host: string;
  readonly running: Running;
  /** Sends SIGTERM. */
  stop(): Promise<Ended>;
}

/** Starts `mirror-sync serve` on any free port, and resolves when it listens. */
export async function serving(archive: string, args: readonly string[] = [], env: Environment = {}): Promise<Serving> {
  const running = startMirrorSync(['serve', archive, '--listen', '127.0.0.1:0', ...args], env);
  const host = await new Promise<string>((resolve, reject) => {
    let said = '';
    running.process.stderr?.on('data', (chunk: Buffer) => {
      said += chunk.toString();
      const [, address] = / on https?:\/\/(\S+)/.exec(said) ?? [];
      if (address !== undefined) resolve(address);
    });
    running.process.once('close', () => {
      reject(new Error(said));
    });
  });
  return {
    host,
    running,
    stop: () => {
      running.process.kill('SIGTERM');
      return running.ended;
    },
    [Symbol.asyncDispose]: () => running[Symbol.asyncDispose](),
  };
}
