import { setTimeout as delay } from 'node:timers/promises';
import { asFailure, Failure, invalid } from '../core/failure.ts';
import { instantFault } from '../core/instant.ts';
import { Lru } from '../core/lru.ts';
import { decide, type RetryPolicy } from '../core/retry.ts';
import { type Digest, digestOf, digestParts } from '../oci/digest.ts';
import type { Layout } from './layout.ts';
import { mergedReceipt, parseReceipt, provesAsMuch, type Receipt, serialiseReceipt } from './receipt.ts';
import type { Cancel, Condition, ObjectStore } from '../store/store.ts';
import { type Move, moveOf } from './tag-index/move.ts';
import { type TagChange, TagIndex, type TagOutcome } from './tag-index/tag-index.ts';

const MiB = 1024 * 1024;

/** Far more than a receipt has. */
const MAX_RECEIPT_BYTES = MiB;

/** A tag index of 100,000 entries has about 40 MiB. */
const MAX_TAG_INDEX_BYTES = 128 * MiB;

/**
 * Retries when other writers of one tag index, or receipt, commit first. Messages are grouped so that conflicts are
 * rare.
 */
const CONFLICTS: RetryPolicy = { tries: 12, baseMs: 50, capMs: 2_000 };

const JSON_TYPE = 'application/json';

type Wait = (ms: number, operation: string, signal: AbortSignal | undefined) => Promise<void>;

/** The result of an observation. */
export interface TagUpdate extends Partial<Move> {
  readonly outcome: TagOutcome;
}

/** An archive: gives the objects of a store their meaning. */
export class Archive {
  readonly store: ObjectStore;
  readonly layout: Layout;
  readonly #wait: Wait;
  /**
   * The tag index that was read or written last, by its version. A repository of ten thousand tags has a hundred
   * slices. Parsing its index for each slice would take longer than all other work, and leave more garbage than the
   * collector frees in time.
   */
  readonly #parsed: Lru<string, { readonly index: TagIndex; readonly etag: string }>;

  /**
   * @param keptEntries entries of parsed tag indexes that are kept in memory; the last index is always kept
   * @param wait waits for a time in milliseconds
   */
  constructor(store: ObjectStore, layout: Layout, keptEntries = 1, wait: Wait = sleep) {
    this.store = store;
    this.layout = layout;
    this.#wait = wait;
    this.#parsed = new Lru(keptEntries, ({ index }) => Math.min(index.size + 1, keptEntries));
  }

  /** Reads small content and checks its digest; `corrupt` where it does not match. */
  async content(digest: Digest, options: { readonly maxBytes: number } & Cancel): Promise<Uint8Array | undefined> {
    const found = await this.store.get(this.layout.blob(digest), options);
    if (found === undefined) return undefined;
    const actual = digestOf(found.bytes, digestParts(digest).algorithm);
    if (actual === digest) return found.bytes;
    throw new Failure({
      operation: `read ${digest} from ${this.store.name}`,
      side: 'archive',
      code: 'corrupt',
      detail: `its ${found.size} bytes hash to ${actual}`,
    });
  }

  /** Whether there is content under this digest; its bytes are not read. */
  async hasContent(digest: Digest, options: Cancel = {}): Promise<boolean> {
    return (await this.store.head(this.layout.blob(digest), options)) !== undefined;
  }

  /**
   * Writes small content, from any writer and any number of times: the content of a digest is always the same. It is
   * written without a condition, which also replaces corrupt content.
   */
  async putContent(digest: Digest, bytes: Uint8Array, options: Cancel = {}): Promise<void> {
    const { algorithm, hex } = digestParts(digest);
    const actual = digestOf(bytes, algorithm);
    if (actual !== digest)
      throw new Failure({
        operation: `write ${digest} to ${this.store.name}`,
        side: 'archive',
        code: 'digest-mismatch',
        detail: `its ${bytes.length} bytes hash to ${actual}`,
      });
    const checked = algorithm === 'sha256' ? { sha256: hex } : {};
    await this.store.put(this.layout.blob(digest), bytes, { ...checked, ...options });
  }

  /** Reads a blob's proof. A receipt that cannot be read counts as missing: the blob is proven again. */
  async receipt(digest: Digest, options: Cancel = {}): Promise<Receipt | undefined> {
    return (await this.#readReceipt(digest, options))?.receipt;
  }

  /**
   * Writes a blob's proof, unless the archive has one that proves as much. The same bytes may be a layer in one image
   * and an opaque file in another, and the layer's proof serves both. Other facts of an earlier proof are kept. Costs
   * one request without a receipt.
   */
  async putReceipt(receipt: Receipt, options: Cancel = {}): Promise<void> {
    const key = this.layout.receipt(receipt.digest);
    let bytes = serialiseReceipt(receipt);
    let condition: Condition = { absent: true };
    for (let attempt = 1; ; attempt += 1) {
      try {
        await this.store.put(key, bytes, { condition, contentType: JSON_TYPE, ...options });
        return;
      } catch (error) {
        await this.#afterConflict(error, attempt, key, options);
      }
      const there = await this.#readReceipt(receipt.digest, options);
      if (there?.receipt !== undefined) {
        if (provesAsMuch(there.receipt, receipt)) return;
        bytes = serialiseReceipt(mergedReceipt(receipt, there.receipt));
      }
      condition = there === undefined ? { absent: true } : { etag: there.etag };
    }
  }

  async #readReceipt(
    digest: Digest,
    options: Cancel,
  ): Promise<{ readonly receipt: Receipt | undefined; readonly etag: string } | undefined> {
    const found = await this.store.get(this.layout.receipt(digest), { maxBytes: MAX_RECEIPT_BYTES, ...options });
    if (found === undefined) return undefined;
    try {
      return { receipt: parseReceipt(found.bytes, digest), etag: found.etag };
    } catch (error) {
      if (error instanceof Failure && error.code === 'corrupt') return { receipt: undefined, etag: found.etag };
      throw error;
    }
  }

  async tagIndex(
    repository: string,
    options: Cancel = {},
  ): Promise<{ readonly index: TagIndex; readonly etag: string } | undefined> {
    const key = this.layout.tagIndex(repository);
    const known = this.#parsed.get(key);
    const limits = { maxBytes: MAX_TAG_INDEX_BYTES, ...options };
    const found =
      known === undefined || this.store.getChanged === undefined
        ? await this.store.get(key, limits)
        : await this.store.getChanged(key, known.etag, limits);
    if (found === 'unchanged') return known;
    if (found === undefined) return undefined;
    const { etag, bytes } = found;
    if (known?.etag === etag) return known;
    const read = { index: TagIndex.parse(bytes, key, Date.now()), etag };
    this.#parsed.set(key, read);
    return read;
  }

  /**
   * Applies observations to a repository's tag index, with a condition on the version that was read. Starts over where
   * another writer was faster. Writes nothing where nothing changes.
   *
   * @returns the outcome of each observation
   */
  async updateTags(
    repository: string,
    changes: readonly TagChange[],
    options: Cancel = {},
  ): Promise<readonly TagUpdate[]> {
    const apply = (before: TagIndex): { readonly index: TagIndex; readonly outcomes: readonly TagUpdate[] } => {
      const { index, outcomes } = before.apply(changes);
      const updates = outcomes.map((outcome, at) => ({ outcome, ...moveOf(before, changes[at], outcome) }));
      return { index, outcomes: updates };
    };
    checkInstants(repository, changes);
    return this.#edit(repository, apply, options);
  }

  /** Drops every entry that names one of these digests. Only a repair may do this: these digests cannot be pulled. */
  async dropReferences(repository: string, digests: ReadonlySet<Digest>, options: Cancel = {}): Promise<void> {
    await this.#edit(repository, (index) => ({ index: index.without(digests), outcomes: undefined }), options);
  }

  async #edit<T>(
    repository: string,
    edit: (index: TagIndex) => { readonly index: TagIndex; readonly outcomes: T },
    options: Cancel,
  ): Promise<T> {
    const key = this.layout.tagIndex(repository);
    for (let attempt = 1; ; attempt += 1) {
      const read = await this.tagIndex(repository, options);
      const before = read?.index ?? TagIndex.empty();
      const { index, outcomes } = edit(before);
      if (index === before) return outcomes;
      try {
        if (read === undefined) await this.#mark(repository, options);
        await this.#putTagIndex(key, index, read?.etag, options);
        return outcomes;
      } catch (error) {
        await this.#afterConflict(error, attempt, key, options);
      }
    }
  }

  /** Waits so that another writer can finish; throws any error that is not a conflict, and a conflict too many. */
  async #afterConflict(error: unknown, attempt: number, key: string, { signal }: Cancel): Promise<void> {
    const failure = asFailure(error, `write ${key}`, 'archive');
    const decision = decide(failure, attempt, CONFLICTS, Math.random());
    if (failure.code !== 'precondition-failed' || !decision.again) throw failure;
    await this.#wait(decision.afterMs, failure.operation, signal);
  }

  /** Every repository that has a tag index. */
  async *repositories(options: Cancel = {}): AsyncGenerator<string, void, void> {
    for await (const { key } of this.store.list(this.layout.repositories, options)) {
      const repository = this.layout.repositoryOf(key);
      if (repository !== undefined) yield repository;
    }
  }

  /** Writes the state of an image in a run; a later report replaces an earlier one. */
  async writeRunReport(run: string, image: string, report: unknown, options: Cancel = {}): Promise<void> {
    const bytes = Buffer.from(`${JSON.stringify(report)}\n`);
    await this.store.put(this.layout.runReport(run, image), bytes, { contentType: JSON_TYPE, ...options });
  }

  async #putTagIndex(key: string, index: TagIndex, etag: string | undefined, options: Cancel): Promise<void> {
    const bytes = index.serialise();
    if (bytes.length > MAX_TAG_INDEX_BYTES)
      throw new Failure({
        operation: `write ${key}`,
        side: 'archive',
        code: 'too-large',
        detail: `it would have ${bytes.length} bytes, and could not be read again: ${MAX_TAG_INDEX_BYTES} is the limit`,
      });
    const condition: Condition = etag === undefined ? { absent: true } : { etag };
    const { etag: written } = await this.store.put(key, bytes, { condition, contentType: JSON_TYPE, ...options });
    this.#parsed.set(key, { index, etag: written });
  }

  async #mark(repository: string, options: Cancel): Promise<void> {
    const { key, content } = this.layout.marker(repository);
    await this.store.put(key, Buffer.from(content), { contentType: JSON_TYPE, ...options });
  }
}

async function sleep(ms: number, operation: string, signal: AbortSignal | undefined): Promise<void> {
  try {
    await delay(ms, undefined, { signal });
  } catch (error) {
    throw asFailure(error, operation, 'archive');
  }
}

/** @throws Failure for an observation in the future, which would make each later one count as older */
function checkInstants(repository: string, changes: readonly TagChange[]): void {
  const now = Date.now();
  for (const { observed, tag, descriptor } of changes) {
    const fault = instantFault(observed, now);
    if (fault === undefined) continue;
    const reference = tag === undefined ? `${repository}@${descriptor.digest}` : `${repository}:${tag}`;
    throw invalid(`write tag index ${reference}`, `the time of the observation ${fault}`);
  }
}
