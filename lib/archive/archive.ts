import { Failure } from '../core/failure.ts';
import { Lru } from '../core/lru.ts';
import { type Digest, digestOf, digestParts } from '../oci/digest.ts';
import { checkInstants } from './instants.ts';
import { afterConflict, conflict, sleep, type Wait } from './conflicts.ts';
import type { Layout } from './oci-layout.ts';
import { OwnWrites } from './own-writes.ts';
import type { Receipt } from './receipt.ts';
import { type FoundReceipt, Receipts } from './receipts.ts';
import type { Cancel, Condition, ObjectStore } from '../store/store.ts';
import { withoutDamaged } from './tag-index/withheld.ts';
import { type ReferrerCheck, type TagChange, TagIndex } from './tag-index/tag-index.ts';
import { applied, type Edited, type FindChanges, type ReadIndex, type TagUpdate, type UpdateOptions } from './edits.ts';

export type { TagUpdate } from './edits.ts';

const MiB = 1024 * 1024;

/** A tag index of 100,000 entries has about 40 MiB. */
const MAX_TAG_INDEX_BYTES = 128 * MiB;

const JSON_TYPE = 'application/json';

/** An archive over an object store. */
export class Archive {
  readonly store: ObjectStore;
  readonly layout: Layout;
  readonly #wait: Wait;
  readonly #receipts: Receipts;
  #own: OwnWrites | undefined;
  /**
   * The tag index that was read or written last, by its version. A repository of ten thousand tags has a hundred
   * slices. Parsing its index for each slice would take longer than all other work, and create garbage faster than the
   * collector frees it.
   */
  readonly #parsed: Lru<string, ReadIndex>;

  /**
   * @param keptEntries entries of parsed tag indexes that are kept in memory; the last index is always kept
   * @param wait waits for a time in milliseconds
   */
  constructor(store: ObjectStore, layout: Layout, keptEntries = 1, wait: Wait = sleep) {
    this.store = store;
    this.layout = layout;
    this.#wait = wait;
    this.#receipts = new Receipts(store, layout, wait);
    this.#parsed = new Lru(keptEntries, ({ index }) => Math.min(index.size + 1, keptEntries));
  }

  /** Reads small content and checks its digest; throws `corrupt` if it does not match. */
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
    const began = this.#own?.now;
    await this.store.put(this.layout.blob(digest), bytes, { ...checked, ...options });
    if (began !== undefined) this.#own?.wroteContent(digest, bytes, began);
  }

  /** Reads a blob's proof. A receipt that cannot be read counts as missing: the blob is proven again. */
  async receipt(digest: Digest, options: Cancel = {}): Promise<Receipt | undefined> {
    return (await this.findReceipt(digest, options))?.receipt;
  }

  /**
   * Writes a blob's proof, unless the archive has one that covers it. The same bytes may be a layer in one image
   * and an opaque file in another, and the layer's proof serves both. Other facts of an earlier proof are kept. Costs
   * one request without a receipt.
   */
  async putReceipt(receipt: Receipt, options: Cancel = {}): Promise<void> {
    const began = this.#own?.now;
    const written = await this.#receipts.put(receipt, options);
    if (began !== undefined && written !== undefined) this.#own?.wroteReceipt(written, began);
  }

  /** The object in the place of a receipt, with its version. */
  findReceipt(digest: Digest, options: Cancel = {}): Promise<FoundReceipt | undefined> {
    return this.#receipts.find(digest, options);
  }

  /** Replaces a wrong receipt, on condition that it still has this version, so that nothing relies on the blob. */
  async revokeReceipt(digest: Digest, etag: string, now: number, options: Cancel = {}): Promise<void> {
    await this.#receipts.revoke(digest, etag, now, options);
    this.#own?.revoked(digest);
  }

  /** The content and receipts that this process has written since the first call. */
  ownWrites(): OwnWrites {
    return (this.#own ??= new OwnWrites());
  }

  /** The tag index as it was last read or written, if it is still in memory. Costs no request. */
  lastRead(repository: string): TagIndex | undefined {
    return this.#parsed.get(this.layout.tagIndex(repository))?.index;
  }

  async tagIndex(repository: string, options: Cancel = {}): Promise<ReadIndex | undefined> {
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
    // Slices of one repository read the index at the same time; the first parses it for all of them.
    const parsed = this.#parsed.get(key);
    if (parsed?.etag === etag) return parsed;
    const read = { index: TagIndex.parse(bytes, key, Date.now()), etag };
    this.#parsed.set(key, read);
    return read;
  }

  /**
   * The tag index for verification and repair: with the present for each time in the future. `fault` is the reason why
   * `tagIndex` refuses the stored one.
   */
  async repairedIndex(
    repository: string,
    options: Cancel = {},
  ): Promise<(ReadIndex & { readonly fault?: string }) | undefined> {
    const key = this.layout.tagIndex(repository);
    const found = await this.store.get(key, { maxBytes: MAX_TAG_INDEX_BYTES, ...options });
    return found && { ...TagIndex.parseRepaired(found.bytes, key, Date.now()), etag: found.etag };
  }

  /**
   * Applies observations to a repository's tag index, with a condition on the version that was read. Starts over if
   * another writer was faster. Writes nothing if nothing changes.
   *
   * @param changes or a function that finds them, each time that the process starts over. Everything that the function has
   *   checked holds when the index is written: a repair changes the versions of all indexes after it has revoked a receipt
   * @returns the outcome of each observation
   */
  async updateTags(
    repository: string,
    changes: readonly TagChange[] | FindChanges,
    options: UpdateOptions = {},
  ): Promise<readonly TagUpdate[]> {
    if (typeof changes !== 'function') {
      checkInstants(repository, changes);
      return this.#edit(repository, (before) => applied(before, changes), options);
    }
    const edit = async (before: TagIndex, read?: ReadIndex): Promise<Edited<readonly TagUpdate[]>> => {
      // The marker is written before the check, so that a repair finds the repository, and changes the version of its
      // index.
      if (read === undefined) await this.mark(repository, { signal: options.signal });
      const found = await changes(read?.etag, read?.index);
      if (found.length === 0) return { index: before, result: [] };
      checkInstants(repository, found);
      return { ...applied(before, found), isChecked: true };
    };
    return this.#edit(repository, edit, options);
  }

  /**
   * Changes the policy of a repository, or its decisions; `edit` is called again where another writer was faster.
   */
  async updatePolicy(repository: string, edit: (index: TagIndex) => TagIndex, options: Cancel = {}): Promise<TagIndex> {
    const edited = (before: TagIndex): Edited<TagIndex> => {
      const index = edit(before);
      return { index, result: index };
    };
    return this.#edit(repository, edited, options);
  }

  /** Records checks for new referrers in one write; writes nothing where nothing changes. */
  async recordChecks(repository: string, checks: readonly ReferrerCheck[], options: UpdateOptions = {}): Promise<void> {
    checkInstants(repository, [], checks);
    await this.#edit(repository, (index) => ({ index: index.checked(checks), result: undefined }), options);
  }

  /**
   * Drops every entry that names one of these digests, sets times in the future to the present, and always gives the
   * index another version. Only a repair may do this: these digests cannot be pulled.
   */
  async dropReferences(
    repository: string,
    digests: ReadonlySet<Digest>,
    now: number,
    options: Cancel = {},
  ): Promise<void> {
    const edit = (index: TagIndex): Edited<undefined> => ({
      index: withoutDamaged(index, digests).repaired(now),
      result: undefined,
    });
    await this.#edit(repository, edit, { ...options, isRepair: true });
  }

  /** @param edit is called again where another writer was faster; `read` is undefined for a repository without an index */
  async #edit<T>(
    repository: string,
    edit: (before: TagIndex, read: ReadIndex | undefined) => Edited<T> | Promise<Edited<T>>,
    { signal, written, isRepair }: UpdateOptions,
  ): Promise<T> {
    const key = this.layout.tagIndex(repository);
    for (let attempt = 1; ; attempt += 1) {
      const read = await this[isRepair ? 'repairedIndex' : 'tagIndex'](repository, { signal });
      const before = read?.index ?? TagIndex.empty();
      const { index, result, isChecked = false } = await edit(before, read);
      try {
        if (index !== before) {
          if (read === undefined && !isChecked) await this.mark(repository, { signal });
          const version = await this.#putTagIndex(key, index, read?.etag, { signal });
          written?.(version);
        } else if (isChecked) await this.#mustBe(key, read?.etag, { signal });
        return result;
      } catch (error) {
        await afterConflict(error, attempt, { key, wait: this.#wait, signal });
      }
    }
  }

  /** If nothing is written, no write condition detects that another process has changed the index. */
  async #mustBe(key: string, version: string | undefined, options: Cancel): Promise<void> {
    if ((await this.store.head(key, options))?.etag !== version) throw conflict(key);
  }

  /** Every repository that has a tag index. */
  async *repositories(options: Cancel = {}): AsyncGenerator<string, void, void> {
    for await (const { key } of this.store.list(this.layout.repositories, options)) {
      const repository = this.layout.repositoryOf(key);
      if (repository !== undefined) yield repository;
    }
  }

  /** The same, and the repositories whose first reference may be written at this moment. */
  async markedRepositories(options: Cancel = {}): Promise<ReadonlySet<string>> {
    const found = new Set<string>();
    for await (const { key } of this.store.list(this.layout.repositories, options)) {
      const repository = this.layout.markedBy(key) ?? this.layout.repositoryOf(key);
      if (repository !== undefined) found.add(repository);
    }
    return found;
  }

  async #putTagIndex(key: string, index: TagIndex, etag: string | undefined, options: Cancel): Promise<string> {
    const bytes = index.serialise();
    if (bytes.length > MAX_TAG_INDEX_BYTES)
      throw new Failure({
        operation: `write ${key}`,
        side: 'archive',
        code: 'too-large',
        detail: `expected at most ${MAX_TAG_INDEX_BYTES} bytes, got ${bytes.length}`,
      });
    const condition: Condition = etag === undefined ? { absent: true } : { etag };
    const { etag: written } = await this.store.put(key, bytes, { condition, contentType: JSON_TYPE, ...options });
    this.#parsed.set(key, { index, etag: written });
    return written;
  }

  /** Writes the file that other tools need beside the tag index. */
  async mark(repository: string, options: Cancel): Promise<void> {
    const { key, content } = this.layout.marker(repository);
    await this.store.put(key, Buffer.from(content), { contentType: JSON_TYPE, ...options });
  }
}
