/** S3 as a process sees it: each call may fail, and listings arrive in pages. */
import type { ObjectStore, ReadableObject, Upload } from '../../lib/store/store.ts';
import type { MemoryStore } from '../kit/memory-store.ts';
import type { Process } from './process.ts';
import type { System } from './system.ts';

/** The elements of a page of a listing. */
const PAGE = 3;

/** A process, or a sandbox whose process may change. */
export type Port = Pick<Process, 'world' | 'call'> & { readonly process: Process };

export interface Weather {
  /** The time for which a listing lacks a new upload, in milliseconds. */
  readonly uploadsListedAfterMs: number;
}

/** Small parts: a blob of a few kilobytes has several. */
export const PART_BYTES = 1_024;

export function storeOf(
  port: Port,
  { memory, audit, conditions }: Pick<System, 'memory' | 'audit' | 'conditions'>,
): ObjectStore {
  const { uploadsListedAfterMs } = conditions;
  const call = <T>(
    what: string,
    effect: () => Promise<T>,
    signal: AbortSignal | undefined,
    isCompletion = false,
  ): Promise<T> => port.call(what, effect, { side: 'archive', signal, isCompletion });
  const isListed = ({ initiated }: Upload): boolean => port.world.now - initiated.getTime() >= uploadsListedAfterMs;
  return {
    name: memory.name,
    limits: memory.limits,
    get: (key, options) => call(`get ${key}`, () => memory.get(key, { maxBytes: options.maxBytes }), options.signal),
    getChanged: (key, etag, options) =>
      call(
        `get ${key} if changed`,
        async () => {
          const found = await memory.get(key, { maxBytes: options.maxBytes });
          return found?.etag === etag ? 'unchanged' : found;
        },
        options.signal,
      ),
    head: (key, options = {}) => call(`head ${key}`, () => memory.head(key), options.signal),
    async read(key, { start = 0, signal } = {}): Promise<ReadableObject | undefined> {
      // The body is that of the version that was current at the time of the request.
      const found = await call(`read ${key} from ${start}`, () => chunksOf(memory, key, start), signal);
      if (found === undefined) return undefined;
      const { etag, size, chunks } = found;
      const next = (chunk: Uint8Array): Promise<Uint8Array> =>
        call(`read ${chunk.length} bytes of ${key}`, () => Promise.resolve(chunk), signal);
      return { etag, size, body: eachOf(chunks, next) };
    },
    put: (key, bytes, options = {}) => {
      const { signal, ...rest } = options;
      const copy = new Uint8Array(bytes);
      return call(`put ${key}`, () => memory.put(key, copy, rest), signal);
    },
    delete: (key, { signal, ...rest } = {}) => call(`delete ${key}`, () => memory.delete(key, rest), signal),
    list: (prefix, { signal } = {}) =>
      listing(
        `list ${prefix}`,
        () => Array.fromAsync(memory.list(prefix)),
        ({ key }) => key,
        (what, effect) => call(what, effect, signal),
      ),
    uploads: (prefix, { signal } = {}) =>
      listing(
        `list uploads of ${prefix}`,
        async () => (await Array.fromAsync(memory.uploads(prefix))).filter(isListed),
        ({ key, id }) => `${key} ${id}`,
        (what, effect) => call(what, effect, signal),
      ),
    createUpload: (key, { signal, ...rest }) =>
      call(
        `create upload of ${key}`,
        async () => {
          const upload = await memory.createUpload(key, rest);
          audit.created(port.process, upload);
          return upload;
        },
        signal,
      ),
    uploadPart(upload, number, bytes, { signal } = {}) {
      const copy = new Uint8Array(bytes);
      return call(
        `put part ${number} of ${nameOf(upload)}`,
        async () => {
          const part = await memory.uploadPart(upload, number, copy);
          audit.stored(upload);
          return part;
        },
        signal,
      );
    },
    parts: (upload, { signal } = {}) =>
      listing(
        `list parts of ${nameOf(upload)}`,
        () => Array.fromAsync(memory.parts(upload)),
        ({ number }) => String(number).padStart(5, '0'),
        (what, effect) => call(what, effect, signal),
      ),
    completeUpload: (upload, parts, { signal, ...rest } = {}) =>
      call(
        `complete ${nameOf(upload)}`,
        async () => {
          const object = await memory.completeUpload(upload, parts, rest);
          audit.ended(port.process, upload, 'completed');
          return object;
        },
        signal,
        rest.condition !== undefined,
      ),
    abortUpload: (upload, { signal } = {}) =>
      call(
        `abort ${nameOf(upload)}`,
        async () => {
          await memory.abortUpload(upload);
          audit.ended(port.process, upload, 'aborted');
        },
        signal,
      ),
  };
}

function nameOf({ id, key }: Upload): string {
  return `upload ${id} of ${key}`;
}

async function chunksOf(
  memory: MemoryStore,
  key: string,
  start: number,
): Promise<{ readonly etag: string; readonly size: number; readonly chunks: readonly Uint8Array[] } | undefined> {
  const found = await memory.read(key, { start });
  if (found === undefined) return undefined;
  const bytes = Buffer.concat(await Array.fromAsync(found.body));
  const half = Math.ceil(bytes.length / 2);
  const chunks = [bytes.subarray(0, half), bytes.subarray(half)].filter(({ length }) => length > 0);
  return { etag: found.etag, size: found.size, chunks };
}

/** Pages in the order of names. Every page is a separate call, and has the state at that time. */
async function* listing<T>(
  what: string,
  all: () => Promise<T[]>,
  nameIn: (item: T) => string,
  call: (what: string, effect: () => Promise<T[]>) => Promise<T[]>,
): AsyncGenerator<T, void, void> {
  let last = '';
  for (;;) {
    const after = last;
    const page = await call(after === '' ? what : `${what}, after ${after}`, async () => {
      const rest = (await all()).filter((item) => nameIn(item) > after);
      return rest.sort((a, b) => (nameIn(a) < nameIn(b) ? -1 : 1)).slice(0, PAGE);
    });
    yield* page;
    const end = page.at(-1);
    if (end === undefined || page.length < PAGE) return;
    last = nameIn(end);
  }
}

export async function* eachOf<T>(items: readonly T[], next: (item: T) => Promise<T>): AsyncGenerator<T, void, void> {
  for (const item of items) yield await next(item);
}
