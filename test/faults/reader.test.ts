/** A reader pulls through a server while a mirror writes the same archive, is killed, and runs again. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { Archive } from '../../lib/archive/archive.ts';
import { ociLayout } from '../../lib/archive/oci-layout.ts';
import { digestOf } from '../../lib/oci/digest.ts';
import { Registry } from '../../lib/serve/registry.ts';
import { FolderStore } from '../../lib/store/folder/store.ts';
import { Faults } from '../kit/faults.ts';
import { AFTER, BEFORE, NEW, run, Scene } from './scene.ts';

interface Manifest {
  readonly config?: { readonly digest: string };
  readonly layers?: readonly { readonly digest: string }[];
  readonly manifests?: readonly { readonly digest: string }[];
}

/** Pulls whole images as a client does, and throws for a missing part or a wrong byte. */
class Reader {
  readonly faults: string[] = [];
  readonly #registry: Registry;
  readonly #name: string;

  constructor(store: FolderStore, host: string) {
    const archive = new Archive(store, ociLayout, 1_000);
    this.#registry = new Registry({ archive, onFault: (text) => this.faults.push(text) });
    this.#name = `${host.replace(':', '_')}/team`;
  }

  /** The digest of the image; undefined if the repository does not have the tag. */
  async pull(repository: string, reference: string): Promise<string | undefined> {
    const path = `/v2/${this.#name}/${repository}`;
    const response = await this.#get(`${path}/manifests/${reference}`);
    if (response.status === 404) return undefined;
    const digest = response.headers.get('docker-content-digest') ?? '';
    const manifest = JSON.parse((await bytesOf(response, digest)).toString()) as Manifest;
    for (const { digest: blob } of [
      ...(manifest.layers ?? []),
      ...(manifest.config === undefined ? [] : [manifest.config]),
    ])
      await bytesOf(await this.#get(`${path}/blobs/${blob}`), blob);
    for (const { digest: child } of manifest.manifests ?? [])
      expect(await this.pull(repository, child), `${reference} has the child ${child}`).toBe(child);
    return digest;
  }

  async #get(target: string): Promise<Response> {
    return (await this.#registry.serve(new Request('http://reader.example/'), target)).response;
  }
}

/** The body of a response, whose bytes have the digest. */
async function bytesOf(response: Response, digest: string): Promise<Buffer> {
  const bytes = Buffer.from(await response.arrayBuffer());
  expect([response.status, digestOf(bytes)]).toEqual([200, digest]);
  return bytes;
}

/** Pulls both tags and the old digest, and returns whether the mirror is complete. */
async function mustRead(reader: Reader, where: string): Promise<boolean> {
  const [moved, added] = [await reader.pull('app', '1'), await reader.pull('new', '1')];
  expect([BEFORE.digest, AFTER.digest], where).toContain(moved);
  expect([undefined, NEW.digest], where).toContain(added);
  expect(await reader.pull('app', BEFORE.digest), where).toBe(BEFORE.digest);
  expect(reader.faults, where).toEqual([]);
  return moved === AFTER.digest && added === NEW.digest;
}

describe('a reader of a served archive gets whole images only', () => {
  test('between any two calls of a mirror', { timeout: 120_000 }, async () => {
    await using scene = await Scene.open();
    const { registry } = scene;
    await using folder = await scene.archive();
    await using store = new FolderStore(folder.path);
    // It keeps manifests, names and sizes in memory, and must not serve an outdated state from there.
    const lasting = new Reader(store, registry.host);
    let instants = 0;
    // An error in a call would only make the mirror try again.
    const problems: unknown[] = [];
    const faults = new Faults({
      at: 1,
      times: Infinity,
      act: async () => {
        instants += 1;
        const where = `before call ${instants}`;
        for (const reader of [lasting, new Reader(store, registry.host)])
          await mustRead(reader, where).catch((problem: unknown) => problems.push(problem));
      },
    });
    const { outcomes } = await run(registry.host, folder.path, faults);
    expect(outcomes.map(({ status, reason }) => reason ?? status)).toEqual(['mirrored', 'mirrored']);
    expect(problems).toEqual([]);
    expect(instants).toBeGreaterThan(50);
    expect(await mustRead(lasting, 'at the end')).toBe(true);
  });

  test('while the mirror is killed again and again, and completes', { timeout: 120_000 }, async () => {
    await using scene = await Scene.open();
    const { registry } = scene;
    await using folder = await scene.archive();
    await using store = new FolderStore(folder.path);
    const reader = new Reader(store, registry.host);
    const ended = new AbortController();
    let pulls = 0;
    const reading = (async () => {
      for (let isComplete = false; !(ended.signal.aborted && isComplete); pulls += 1) {
        isComplete = await mustRead(reader, `pull ${pulls}`);
        // A reader in memory would otherwise starve the registry.
        await setImmediate();
      }
    })();
    let killed = 0;
    try {
      // Each process survives longer than the one before it.
      for (let at = 5; (await killedBefore(at, registry.host, folder.path)) && at < 2_000; at += 15) killed += 1;
    } finally {
      ended.abort();
      await reading;
    }
    expect(killed).toBeGreaterThan(3);
    expect(pulls).toBeGreaterThan(10);
  });
});

/** Mirrors in a process that is killed before a call; false if it has completed before. */
async function killedBefore(at: number, host: string, folder: string): Promise<boolean> {
  const script = join(import.meta.dirname, 'mirror.child.ts');
  const child = spawn(process.execPath, [script, host, folder, String(at)], { stdio: ['ignore', 'ignore', 'inherit'] });
  const [, signal] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null];
  return signal !== null;
}
