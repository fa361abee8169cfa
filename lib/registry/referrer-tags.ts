import { Failure } from '../core/failure.ts';
import { isReferrerTag } from '../oci/referrer-tags.ts';

/** The number of requests that probe for the tags of one manifest: one for the tag schema, and three for cosign. */
const PROBES = 4;

/** The maximum number of names that are kept; a repository with more is probed. */
const MAX_KEPT = 20_000;

/** The tags of a repository that name referrers. */
export interface KnownTags {
  /** The time at which the list was begun, in milliseconds since the epoch. */
  readonly since: number;
  /**
   * Returns whether the repository has a tag of one manifest; undefined if only a request can answer that.
   *
   * @throws Failure `aborted`
   */
  has(): Promise<((tag: string) => boolean) | undefined>;
}

/**
 * Passes on the pages of a list, and keeps the tags of referrers in it, so that a second list is not needed.
 *
 * @param share gets the tags, which are known when the last page was read; undefined for a list that was not read to its end
 */
export async function* sharingTags(
  pages: AsyncIterable<readonly string[]>,
  since: number,
  share: (tags: KnownTags | undefined) => void,
): AsyncGenerator<readonly string[], void> {
  const found = new Set<string>();
  const { promise, resolve } = Promise.withResolvers<((tag: string) => boolean) | undefined>();
  share({ since, has: () => promise });
  let isComplete = false;
  try {
    for await (const page of pages) {
      for (const tag of page) if (found.size <= MAX_KEPT && isReferrerTag(tag)) found.add(tag);
      yield page;
    }
    isComplete = found.size <= MAX_KEPT;
  } finally {
    if (!isComplete) share(undefined);
    resolve(isComplete ? (tag) => found.has(tag) : undefined);
  }
}

/**
 * Reads the tags of a repository that name referrers. Most repositories have no such tags, which one page of the tag
 * list proves for all manifests.
 *
 * A list is read only as far as the probes for the manifests so far would have cost as many requests. So even a long
 * list at most doubles the number of requests.
 */
export class ReferrerTags implements KnownTags {
  readonly since: number;
  readonly #pages: AsyncIterator<readonly string[], void>;
  readonly #found = new Set<string>();
  #isComplete = false;
  #isUseless = false;
  #read = 0;
  #credit = 0;
  /** Callers take turns, so that each page is read once. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(pages: AsyncIterable<readonly string[], void>, since: number) {
    this.#pages = pages[Symbol.asyncIterator]();
    this.since = since;
  }

  async has(): Promise<((tag: string) => boolean) | undefined> {
    const turn = this.#turn.then(() => this.#readOn());
    this.#turn = turn.catch(() => undefined);
    await turn;
    return this.#isComplete ? (tag) => this.#found.has(tag) : undefined;
  }

  async #readOn(): Promise<void> {
    this.#credit += PROBES;
    while (!this.#isComplete && !this.#isUseless && this.#read < this.#credit) {
      try {
        this.#read += 1;
        const next = await this.#pages.next();
        if (next.done === true) this.#isComplete = true;
        else for (const tag of next.value) if (isReferrerTag(tag)) this.#found.add(tag);
      } catch (error) {
        this.#isUseless = true;
        if (error instanceof Failure && error.code === 'aborted') throw error;
      }
      if (this.#found.size > MAX_KEPT) this.#isUseless = true;
    }
    if (!this.#isUseless) return;
    this.#found.clear();
    await this.#pages.return?.();
  }
}
