/** A client that pulls images from `serve`, and checks everything that it receives. */
import { Registry } from '../../lib/serve/registry.ts';
import { hashOf } from './audit.ts';
import { instanceOf } from './functions.ts';
import { Process } from './process.ts';
import { readPolicies } from './policy-reader.ts';
import type { System } from './system.ts';
import { Violation } from './violation.ts';

/** The pause between two pulls, in milliseconds. */
const PAUSE_MS = 20_000;

interface RawManifest {
  readonly config?: { readonly digest: string };
  readonly layers?: readonly { readonly digest: string }[];
  readonly manifests?: readonly { readonly digest: string }[];
}

export function read(system: System, name: string, times: number): void {
  const { world, faults, audit } = system;
  const process = new Process(name, world, faults);
  const { archive } = instanceOf(system, process);
  const registry = new Registry({ archive });
  const client = new Client(system, process, registry);
  const work = async (): Promise<void> => {
    for (let at = 0; at < times; at += 1) {
      await process.wait(PAUSE_MS);
      const repositories = audit.repositories();
      if (repositories.length === 0) continue;
      const repository = world.pick(`repository ${name} ${at}`, repositories);
      const tags = [...audit.tagsOf(repository).keys()];
      const isAsking = audit.stateOf(repository)?.hasControl === true && world.chance(`asks ${name} ${at}`) < 0.7;
      if (isAsking)
        await readPolicies({ system, repository, name: `${name} ${at}`, get: (target) => client.get(target) });
      else if (tags.length > 0) await client.pull(repository, world.pick(`tag ${name} ${at}`, tags));
    }
  };
  work().then(
    () => {
      process.end();
    },
    (error: unknown) => {
      world.fail(error);
    },
  );
}

class Client {
  readonly #system: System;
  readonly #process: Process;
  readonly #registry: Registry;

  constructor(system: System, process: Process, registry: Registry) {
    this.#system = system;
    this.#process = process;
    this.#registry = registry;
  }

  /** Pulls an image. A 5xx, or the repair of the image meanwhile, ends the pull. */
  async pull(repository: string, tag: string): Promise<void> {
    const { world, audit } = this.#system;
    const began = world.now;
    const found = await this.#get(repository, `manifests/${tag}`);
    const allowed = audit.digestsOf(`${repository}:${tag}`, began, world.now);
    if (found.status >= 500) return;
    const digest = found.status === 200 ? hashOf(found.bytes) : undefined;
    if (digest !== undefined && digest !== found.digest)
      throw new Violation(`serve sent other bytes for ${repository}:${tag}`);
    // A damaged manifest is not served.
    const isExcused = [...allowed].some((each) => each !== undefined && audit.isDamaged(each, began));
    if (!allowed.has(digest) && !isExcused)
      throw new Violation(`serve sent ${String(digest)} for ${repository}:${tag}, which the archive did not have then`);
    if (digest === undefined) return;
    world.say(this.#process.name, `pulls ${repository}:${tag} ${digest}`);
    await this.#closure(repository, digest, found.bytes, began);
  }

  async #closure(repository: string, root: string, bytes: Uint8Array, began: number): Promise<void> {
    const { config, layers = [], manifests = [] } = JSON.parse(Buffer.from(bytes).toString('utf8')) as RawManifest;
    for (const { digest } of manifests) {
      const child = await this.#get(repository, `manifests/${digest}`);
      if (this.#isRight(child, repository, root, digest, began, true))
        await this.#closure(repository, root, child.bytes, began);
    }
    for (const { digest } of [...(config === undefined ? [] : [config]), ...layers])
      this.#isRight(await this.#get(repository, `blobs/${digest}`), repository, root, digest, began, false);
  }

  #isRight(
    { status, bytes }: Response,
    repository: string,
    root: string,
    digest: string,
    began: number,
    isSparse: boolean,
  ): boolean {
    if (status === 200) {
      const isWrong = hashOf(bytes) !== digest;
      // A blob is proven when it is stored, and a client hashes what it gets.
      if (isWrong && !this.#system.audit.isDamaged(digest, began))
        throw new Violation(`serve sent other bytes for ${digest}`);
      return !isWrong;
    }
    const { audit } = this.#system;
    // A platform that is not mirrored, a damaged object, or an image that a repair has removed meanwhile.
    if (status >= 500 || isSparse || audit.isDamaged(digest, began) || audit.removedSince(repository, root, began))
      return false;
    throw new Violation(`serve answered ${status} for ${digest} of ${repository}@${root}, which it serves`);
  }

  #get(repository: string, path: string): Promise<Response> {
    return this.get(`/v2/${repository}/${path}`);
  }

  async get(target: string): Promise<Response> {
    const { response } = await this.#registry.serve(new Request('http://serve.example/'), target);
    let bytes: Uint8Array;
    try {
      bytes = new Uint8Array(await response.arrayBuffer());
    } catch {
      // The store failed while the body was sent.
      return { status: 503, bytes: new Uint8Array(0), digest: undefined };
    }
    return { status: response.status, bytes, digest: response.headers.get('docker-content-digest') ?? undefined };
  }
}

export interface Response {
  readonly status: number;
  readonly bytes: Uint8Array;
  readonly digest: string | undefined;
}
