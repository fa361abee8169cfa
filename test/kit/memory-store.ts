/* eslint-disable @typescript-eslint/require-await -- the port is asynchronous, and memory is not */
import { createHash, randomUUID } from 'node:crypto';
import { Failure, type FailureCode, type Remedy } from '../../lib/core/failure.ts';
import type {
  Cancel,
  Condition,
  ListedObject,
  ObjectStore,
  Part,
  PartLimits,
  ReadableObject,
  StoredBytes,
  StoredObject,
  Upload,
} from '../../lib/store/store.ts';

interface Held extends StoredBytes {
  readonly modified: Date;
}

interface HeldUpload extends Upload {
  readonly partSize: number;
  readonly parts: Map<number, { readonly part: Part; readonly bytes: Uint8Array }>;
}

export interface MemoryStoreOptions {
  readonly name?: string;
  readonly limits?: Partial<PartLimits>;
  /** A new name, for uploads and parts. */
  readonly id?: () => string;
  /** Milliseconds since the epoch. */
  readonly now?: () => number;
  /** Called after an object was written or deleted. */
  readonly onChange?: (key: string) => void;
}

/** The bytes per chunk of a body. */
const CHUNK_BYTES = 64 * 1024;

/** An object store in memory. No operation waits inside, so every method is atomic. */
export class MemoryStore implements ObjectStore {
  readonly name: string;
  readonly limits: PartLimits;
  readonly #objects = new Map<string, Held>();
  readonly #uploads = new Map<string, HeldUpload>();

  readonly #id: () => string;
  readonly #now: () => number;
  readonly #onChange: (key: string) => void;

  constructor(options: MemoryStoreOptions = {}) {
    this.name = options.name ?? 'memory';
    this.limits = { minPartBytes: 1, maxPartBytes: 1024 ** 3, maxParts: 10_000, ...options.limits };
    this.#id = options.id ?? randomUUID;
    this.#now = options.now ?? ((): number => Date.now());
    this.#onChange = options.onChange ?? (() => undefined);
  }

  /** The bytes of an object, and the keys of all objects, without a call of the port. */
  peek(key: string): Uint8Array | undefined {
    return this.#objects.get(key)?.bytes;
  }

  keys(): readonly string[] {
    return [...this.#objects.keys()];
  }

  /** Replaces the bytes of an object, as a corrupt disk would. */
  damage(key: string, bytes: Uint8Array): void {
    this.#commit(`damage ${key}`, key, bytes, undefined);
  }

  async get(
    key: string,
    { maxBytes, signal }: { readonly maxBytes: number } & Cancel,
  ): Promise<StoredBytes | undefined> {
    begin(`get ${key}`, signal);
    const held = this.#objects.get(key);
    if (held === undefined) return undefined;
    if (held.size > maxBytes)
      throw refuse(`get ${key}`, 'too-large', `it has ${held.size} bytes, and at most ${maxBytes} are read`);
    return { bytes: new Uint8Array(held.bytes), etag: held.etag, size: held.size };
  }

  async head(key: string, { signal }: Cancel = {}): Promise<StoredObject | undefined> {
    begin(`head ${key}`, signal);
    const held = this.#objects.get(key);
    return held === undefined ? undefined : { etag: held.etag, size: held.size };
  }

  async read(
    key: string,
    { start = 0, signal }: { readonly start?: number } & Cancel = {},
  ): Promise<ReadableObject | undefined> {
    begin(`read ${key}`, signal);
    const held = this.#objects.get(key);
    if (held === undefined) return undefined;
    if (start > held.size) throw refuse(`read ${key}`, 'invalid', `it has ${held.size} bytes, and none at ${start}`);
    return { etag: held.etag, size: held.size, body: chunks(`read ${key}`, held.bytes, start, signal) };
  }

  async put(
    key: string,
    bytes: Uint8Array,
    options: { readonly condition?: Condition; readonly sha256?: string } & Cancel = {},
  ): Promise<StoredObject> {
    const { condition, sha256, signal } = options;
    begin(`put ${key}`, signal);
    if (sha256 !== undefined && sha256 !== hashOf(bytes))
      throw refuse(`put ${key}`, 'digest-mismatch', `the bytes do not hash to ${sha256}`);
    return this.#commit(`put ${key}`, key, new Uint8Array(bytes), condition);
  }

  async delete(key: string, { etag, signal }: { readonly etag?: string } & Cancel = {}): Promise<void> {
    begin(`delete ${key}`, signal);
    if (etag !== undefined && this.#objects.get(key)?.etag !== etag) return;
    if (this.#objects.delete(key)) this.#onChange(key);
  }

  async *list(prefix: string, { signal }: Cancel = {}): AsyncGenerator<ListedObject> {
    for (const [key, { size, modified }] of [...this.#objects]) {
      begin(`list ${prefix}`, signal);
      if (key.startsWith(prefix)) yield { key, size, modified };
    }
  }

  async *uploads(prefix: string, { signal }: Cancel = {}): AsyncGenerator<Upload> {
    for (const { key, id, initiated } of [...this.#uploads.values()]) {
      begin(`list uploads ${prefix}`, signal);
      if (key.startsWith(prefix)) yield { key, id, initiated };
    }
  }

  async createUpload(key: string, { partSize, signal }: { readonly partSize: number } & Cancel): Promise<Upload> {
    begin(`create upload ${key}`, signal);
    const upload = { key, id: this.#id(), initiated: new Date(this.#now()) };
    this.#uploads.set(upload.id, { ...upload, partSize, parts: new Map() });
    return upload;
  }

  async uploadPart(upload: Upload, number: number, bytes: Uint8Array, { signal }: Cancel = {}): Promise<Part> {
    const operation = `upload part ${number} of ${upload.key}`;
    begin(operation, signal);
    const held = this.#held(operation, upload);
    if (!Number.isInteger(number) || number < 1 || number > this.limits.maxParts || bytes.length > held.partSize)
      throw refuse(
        operation,
        'invalid',
        `it is not part 1 to ${this.limits.maxParts} of at most ${held.partSize} bytes`,
      );
    const part = { number, size: bytes.length, etag: `"${this.#id()}"` };
    held.parts.set(number, { part, bytes: new Uint8Array(bytes) });
    return part;
  }

  async *parts(upload: Upload, { signal }: Cancel = {}): AsyncGenerator<Part> {
    const operation = `list parts of ${upload.key}`;
    begin(operation, signal);
    const { parts } = this.#held(operation, upload);
    yield* [...parts.values()].map(({ part }) => part).sort((a, b) => a.number - b.number);
  }

  async completeUpload(
    upload: Upload,
    parts: readonly Part[],
    { condition, signal }: { readonly condition?: Condition } & Cancel = {},
  ): Promise<StoredObject> {
    const operation = `complete upload ${upload.key}`;
    begin(operation, signal);
    const held = this.#held(operation, upload);
    if (parts.length === 0) throw refuse(operation, 'invalid', 'part 1 is missing');
    const bytes = parts.map((part, index) => {
      const landed = held.parts.get(index + 1);
      if (part.number !== index + 1) throw refuse(operation, 'invalid', `part ${index + 1} is missing`);
      if (landed?.part.etag !== part.etag || (index + 1 < parts.length && part.size !== held.partSize))
        throw refuse(operation, 'invalid', `part ${part.number} is not the stored part`, 'restart');
      return landed.bytes;
    });
    const object = this.#commit(operation, upload.key, Buffer.concat(bytes), condition);
    this.#uploads.delete(upload.id);
    return object;
  }

  async abortUpload(upload: Upload, { signal }: Cancel = {}): Promise<void> {
    begin(`abort upload ${upload.key}`, signal);
    this.#uploads.delete(upload.id);
  }

  #held(operation: string, upload: Upload): HeldUpload {
    const held = this.#uploads.get(upload.id);
    if (held === undefined) throw refuse(operation, 'no-such-upload', `there is no upload ${upload.id} (any more)`);
    return held;
  }

  #commit(operation: string, key: string, bytes: Uint8Array, condition: Condition | undefined): StoredObject {
    const there = this.#objects.get(key);
    if (condition !== undefined && there?.etag !== ('etag' in condition ? condition.etag : undefined))
      throw refuse(
        operation,
        'precondition-failed',
        there === undefined ? 'it is not there' : 'another version is there',
      );
    const held = { bytes, size: bytes.length, etag: `"${hashOf(bytes)}"`, modified: new Date(this.#now()) };
    this.#objects.set(key, held);
    this.#onChange(key);
    return { etag: held.etag, size: held.size };
  }
}

function begin(operation: string, signal: AbortSignal | undefined): void {
  if (signal?.aborted !== true) return;
  throw signal.reason instanceof Failure ? signal.reason : refuse(operation, 'aborted', 'stopped on request');
}

function refuse(operation: string, code: FailureCode, detail: string, remedy?: Remedy): Failure {
  return new Failure({ operation, side: 'archive', code, detail, ...(remedy === undefined ? {} : { remedy }) });
}

function hashOf(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

async function* chunks(
  operation: string,
  bytes: Uint8Array,
  start: number,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array> {
  for (let at = start; at < bytes.length; at += CHUNK_BYTES) {
    begin(operation, signal);
    yield new Uint8Array(bytes.subarray(at, at + CHUNK_BYTES));
  }
}
