/** The registries: what they have, what they had at each instant, and how they misbehave. */
import { Failure, type FailureCode } from '../../lib/core/failure.ts';
import type { Digest } from '../../lib/oci/digest.ts';
import type { BlobBody, Referrer, Resolved, Source, Sources } from '../../lib/registry/source.ts';
import { makeArtifact, type Pushable } from '../kit/images.ts';
import type { Process } from './process.ts';
import { eachOf } from './store.ts';
import type { World } from './world.ts';

/** Faults of a registry that last for a while. */
export const MOODS = [
  'rate-limited',
  'unavailable',
  'denied',
  'not-found',
  'token-expired',
  'cut-bodies',
  'wrong-bytes',
  'no-ranges',
  'half-of-the-tags',
  'slow-bodies',
] as const;
export type Mood = (typeof MOODS)[number];

interface Change {
  readonly at: number;
  readonly digest: Digest | undefined;
}

/** The minimum time of a slow part of a body, in milliseconds. */
const SLOW_MS = 1_500;

/** The tags of a page of a listing. */
const TAGS_PER_PAGE = 2;

export class Upstream {
  readonly #world: World;
  /** `r1.example/app` to the tags with their history. */
  readonly #repositories = new Map<string, Map<string, Change[]>>();
  readonly #manifests = new Map<string, Pushable>();
  readonly #blobs = new Map<Digest, Buffer>();
  readonly #moods = new Map<string, Set<Mood>>();
  /** The referrers of each manifest: `r1.example/app@sha256:…`. */
  readonly #referrers = new Map<string, Pushable[]>();
  /** The requests for referrers so far. */
  referrerLists = 0;
  /** The requests for the digest of a tag so far, and those for manifests and blobs. */
  heads = 0;
  gets = 0;
  /** Called when a registry names a digest for a tag, with the time at which the request was made. */
  onNamed: (repository: string, tag: string, digest: Digest, at: number) => void = () => undefined;

  constructor(world: World) {
    this.#world = world;
  }

  /** Sets a tag, and adds its content, which is never deleted. */
  push(repository: string, tag: string, image: Pushable): void {
    this.#add(image);
    this.#change(repository, tag, image.digest);
  }

  delete(repository: string, tag: string): void {
    if (this.digestOf(repository, tag) !== undefined) this.#change(repository, tag, undefined);
  }

  /** Pushes an artifact that refers to the image of a tag. */
  attach(repository: string, tag: string, number: number): void {
    const subject = this.#manifests.get(this.digestOf(repository, tag) ?? 'sha256:');
    if (subject === undefined) return;
    const referrer = makeArtifact({ subject, blobs: [Buffer.from(`a signature ${number}`)] });
    this.#add(referrer);
    const name = `${repository}@${subject.digest}`;
    this.#referrers.set(name, [...(this.#referrers.get(name) ?? []), referrer]);
  }

  referrersOf(repository: string, digest: string): readonly Pushable[] {
    return this.#referrers.get(`${repository}@${digest}`) ?? [];
  }

  begin(host: string, mood: Mood): void {
    this.#moods.set(host, new Set(this.#moods.get(host)).add(mood));
  }

  end(host: string, mood: Mood): void {
    this.#moods.get(host)?.delete(mood);
  }

  /** Ends the faults of all registries. */
  calm(): void {
    this.#moods.clear();
  }

  tagsOf(repository: string): readonly string[] {
    const tags = [...(this.#repositories.get(repository)?.keys() ?? [])];
    return tags.filter((tag) => this.digestOf(repository, tag) !== undefined).sort();
  }

  digestOf(repository: string, tag: string): Digest | undefined {
    return this.#repositories.get(repository)?.get(tag)?.at(-1)?.digest;
  }

  /** Whether the tag named the digest at some instant of an interval, with both ends. */
  had(repository: string, tag: string, digest: string, from: number, to: number): boolean {
    const changes = this.#repositories.get(repository)?.get(tag) ?? [];
    return changes.some((change, index) => {
      const until = changes[index + 1]?.at ?? Infinity;
      return change.digest === digest && change.at <= to && until >= from;
    });
  }

  /** The registries as a process sees them. */
  sources(process: Process): Sources {
    return {
      repository: ({ host, path }) => this.#source(process, host, `${host}/${path}`),
      connections: () => 4,
      close: () => Promise.resolve(),
    };
  }

  #change(repository: string, tag: string, digest: Digest | undefined): void {
    const tags = this.#repositories.get(repository) ?? new Map<string, Change[]>();
    this.#repositories.set(repository, tags);
    tags.set(tag, [...(tags.get(tag) ?? []), { at: this.#world.now, digest }]);
  }

  #add(image: Pushable): void {
    this.#manifests.set(image.digest, image);
    for (const [digest, bytes] of image.blobs) this.#blobs.set(digest, bytes);
    for (const child of image.children) this.#add(child);
  }

  #is(host: string, mood: Mood): boolean {
    return this.#moods.get(host)?.has(mood) === true;
  }

  #source(process: Process, host: string, repository: string): Source {
    const call = <T>(what: string, effect: () => T, signal: AbortSignal | undefined): Promise<T> =>
      process.call(
        `${host}: ${what}`,
        // eslint-disable-next-line @typescript-eslint/require-await -- effects are immediate
        async () => {
          if (what.startsWith('head ')) this.heads += 1;
          if (what.startsWith('get ')) this.gets += 1;
          this.#complain(host, what);
          return effect();
        },
        { side: 'source', signal },
      );
    const found = (name: string, digest: Digest | undefined): Pushable => {
      const image = digest === undefined ? undefined : this.#manifests.get(digest);
      if (image === undefined || this.#is(host, 'not-found')) throw refused(`get ${name}`, 'manifest-unknown', '404');
      return image;
    };
    const named = (tag: string, at: number, image: Pushable): Pushable => {
      if (!tag.includes(':')) this.onNamed(repository, tag, image.digest, at);
      return image;
    };
    const fetched = ({ digest, mediaType, manifest }: Pushable): Resolved & { bytes: Uint8Array } => ({
      digest,
      mediaType,
      bytes: new Uint8Array(manifest),
    });
    return {
      repository,
      resolve: (reference, { signal } = {}) => {
        const at = this.#world.now;
        return call(
          `head ${repository}:${reference}`,
          () => {
            const digest = reference.includes(':') ? (reference as Digest) : this.digestOf(repository, reference);
            const { mediaType, digest: actual } = named(reference, at, found(reference, digest));
            return { digest: actual, mediaType };
          },
          signal,
        );
      },
      fetchTag: (tag, { signal } = {}) => {
        const at = this.#world.now;
        const get = (): Resolved & { bytes: Uint8Array } =>
          fetched(named(tag, at, found(tag, this.digestOf(repository, tag))));
        return call(`get ${repository}:${tag}`, get, signal);
      },
      manifest: (digest, { signal } = {}) =>
        call(`get manifest ${digest}`, () => fetched(found(digest, digest)), signal),
      smallBlob: (digest, { signal }) =>
        call(`get blob ${digest}`, () => new Uint8Array(this.#blob(host, digest)), signal),
      blob: (digest, { signal: outer } = {}) => ({
        open: async ({ start, end }, { signal = outer } = {}): Promise<BlobBody> => {
          const ranged = end !== undefined && !this.#is(host, 'no-ranges');
          if (!ranged && start > 0) throw refused(`get blob ${digest}`, 'range-ignored', 'the range was ignored');
          const range = `${start} to ${ranged ? end : 'its end'}`;
          const whole = await call(`get blob ${digest} from ${range}`, () => this.#blob(host, digest), signal);
          const bytes = whole.subarray(start, ranged ? end : whole.length);
          const middle = Math.ceil(bytes.length / 2);
          const chunks = [bytes.subarray(0, middle), bytes.subarray(middle)].filter(({ length }) => length > 0);
          const next = async (chunk: Uint8Array): Promise<Uint8Array> => {
            if (this.#is(host, 'slow-bodies'))
              await process.wait(SLOW_MS * (1 + this.#world.chance(`slow ${digest} ${this.#world.now}`)));
            return call(`receive ${chunk.length} bytes of ${digest}`, () => this.#chunk(host, digest, chunk), signal);
          };
          return { body: eachOf(chunks, next), ranged, total: whole.length, resumed: () => 0 };
        },
      }),
      referrers: (digest, { signal } = {}) =>
        call(
          `list referrers of ${digest}`,
          () => {
            this.referrerLists += 1;
            const manifests = this.referrersOf(repository, digest).map(({ descriptor }) => descriptor as Referrer);
            return { manifests, notes: [] };
          },
          signal,
        ),
      tags: ({ signal } = {}) => this.#tags(host, repository, (what, effect) => call(what, effect, signal)),
    };
  }

  async *#tags(
    host: string,
    repository: string,
    call: (what: string, effect: () => readonly string[]) => Promise<readonly string[]>,
  ): AsyncGenerator<readonly string[], void, void> {
    let last = '';
    for (;;) {
      const after = last;
      const page = await call(`list tags of ${repository} after ${after === '' ? 'none' : after}`, () => {
        if (this.#is(host, 'not-found')) throw refused(`list tags of ${repository}`, 'name-unknown', '404');
        const all = this.tagsOf(repository).filter((tag) => tag > after);
        const some = this.#is(host, 'half-of-the-tags') ? all.filter((_, index) => index % 2 === 0) : all;
        return some.slice(0, TAGS_PER_PAGE);
      });
      if (page.length > 0) yield page;
      const end = page.at(-1);
      if (end === undefined || page.length < TAGS_PER_PAGE) return;
      last = end;
    }
  }

  #complain(host: string, what: string): void {
    const operation = `${host}: ${what}`;
    if (this.#is(host, 'rate-limited'))
      throw new Failure({
        operation,
        side: 'source',
        code: 'rate-limited',
        detail: '429',
        ...(this.#world.chance(`429 ${operation} ${this.#world.now}`) < 0.5 ? {} : { retryAfterMs: 90_000 }),
      });
    if (this.#is(host, 'unavailable')) throw refused(operation, 'unavailable', '503');
    if (this.#is(host, 'denied')) throw refused(operation, 'denied', '403');
    if (this.#is(host, 'token-expired') && this.#world.chance(`token ${operation} ${this.#world.now}`) < 0.5)
      throw refused(operation, 'token-expired', '401');
  }

  #blob(host: string, digest: Digest): Buffer {
    const bytes = this.#blobs.get(digest);
    if (bytes === undefined || this.#is(host, 'not-found')) throw refused(`get blob ${digest}`, 'blob-unknown', '404');
    return bytes;
  }

  #chunk(host: string, digest: Digest, chunk: Uint8Array): Uint8Array {
    if (this.#is(host, 'cut-bodies') && this.#world.chance(`cut ${digest} ${this.#world.now}`) < 0.5)
      throw refused(`get blob ${digest}`, 'truncated', 'the connection was closed');
    if (!this.#is(host, 'wrong-bytes')) return new Uint8Array(chunk);
    const wrong = new Uint8Array(chunk);
    wrong[0] = (wrong[0] ?? 0) ^ 1;
    return wrong;
  }
}

function refused(operation: string, code: FailureCode, detail: string): Failure {
  return new Failure({ operation, side: 'source', code, detail });
}
