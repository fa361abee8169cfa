import { flushCompileCache } from 'node:module';

/** The fault of a call. */
export interface Fault {
  /** The number of the call, from 1 over all wrapped ports. */
  readonly at: number;
  /** The number of failing calls from there on; 1 by default, and `Infinity` for a permanent fault. */
  readonly times?: number;
  /** `before` (default): the call has no effect. `after`: it has its effect, and the response is lost. */
  readonly when?: 'before' | 'after';
  /** The error that the caller gets; or a callback, for a process that is killed there (`dieHere`). */
  readonly act: Error | (() => void | Promise<void>);
}

/**
 * Counts the calls of any number of ports, and makes one of them fail. A stream is a series of calls, one per chunk. The
 * returned objects are wrapped as well: a source's blob, a blob's body, a listing.
 */
export class Faults {
  readonly #fault: Fault | undefined;
  readonly #calls: string[] = [];

  constructor(fault?: Fault) {
    this.#fault = fault;
  }

  /** The calls in order: `archive.put blobs/sha256/…`, and `archive.read → next` for a chunk. */
  get calls(): readonly string[] {
    return this.#calls;
  }

  /** Whether the fault has happened. */
  get fired(): boolean {
    return this.#fault !== undefined && this.#calls.length >= this.#fault.at;
  }

  wrap<T extends object>(port: T, name = 'port'): T {
    return new Proxy(port, {
      get: (target, key) => {
        const value: unknown = Reflect.get(target, key, target);
        if (typeof value !== 'function' || typeof key === 'symbol') return value;
        return (...args: unknown[]) => this.#method(target, value as Method, args, `${name}.${key}`, key);
      },
    });
  }

  #method(target: object, method: Method, args: unknown[], label: string, key: string): unknown {
    const call = (): unknown => Reflect.apply(method, target, args);
    const name = typeof args[0] === 'string' ? `${label} ${args[0]}` : label;
    if (LAZY.has(key)) return this.#wrapResult(call(), name);
    return this.#counted(name, async () => this.#wrapResult(await call(), name));
  }

  async #counted<T>(name: string, call: () => Promise<T>, undo?: () => unknown): Promise<T> {
    const number = this.#calls.push(name);
    const { at = Infinity, times = 1, when = 'before', act } = this.#fault ?? {};
    const here = number >= at && number < at + times;
    const strike = async (): Promise<void> => {
      if (typeof act === 'function') await act();
      else if (act !== undefined) {
        await undo?.();
        throw act;
      }
    };
    if (here && when === 'before') await strike();
    const result = await call();
    if (here && when === 'after') await strike();
    return result;
  }

  /** Iterables, and objects that have one as their `body` or are ports themselves. */
  #wrapResult(result: unknown, name: string): unknown {
    if (typeof result !== 'object' || result === null || result instanceof Uint8Array) return result;
    if ('body' in result && isAsyncIterable(result.body)) {
      const body = this.#iterable(result.body, name);
      return new Proxy(result, {
        get: (target, key) => {
          const value: unknown = key === 'body' ? body : Reflect.get(target, key, target);
          return typeof value === 'function'
            ? (...args: unknown[]) => Reflect.apply(value as Method, target, args)
            : value;
        },
      });
    }
    if (isAsyncIterable(result)) return this.#iterable(result, name);
    return isPort(result) ? this.wrap(result, name) : result;
  }

  #iterable(iterable: AsyncIterable<unknown>, name: string): AsyncIterable<unknown> {
    return {
      [Symbol.asyncIterator]: () => {
        const iterator = iterable[Symbol.asyncIterator]();
        // After its error an iterator has ended, and its consumer does not call `return`: the stream below must be
        // closed here.
        const end = async (): Promise<unknown> => iterator.return?.();
        return {
          next: () => this.#counted(`${name} → next`, () => iterator.next(), end),
          return: async (value?: unknown) => (await iterator.return?.(value)) ?? { done: true, value },
        };
      },
    };
  }
}

type Method = (...args: unknown[]) => unknown;

/**
 * The lazy methods of the ports: they return at once, and the calls happen in the returned object.
 */
const LAZY = new Set(['list', 'uploads', 'parts', 'tags', 'repository', 'connections', 'blob', 'resumed']);

function isAsyncIterable(value: unknown): value is AsyncIterable<unknown> {
  return typeof value === 'object' && value !== null && Symbol.asyncIterator in value;
}

/** An object with behaviour: of a class of the project, or with functions. Data has neither. */
function isPort(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype === Object.prototype || prototype === null)
    return Object.values(value).some((field) => typeof field === 'function');
  return !(value instanceof Date || value instanceof Map || value instanceof Set || Array.isArray(value));
}

/** `port`, whose `n`-th call fails with `error`; optionally after its effect. */
export function failNth<T extends object>(
  port: T,
  n: number,
  error: Error,
  options: { readonly when?: 'before' | 'after' } = {},
): { readonly port: T; readonly faults: Faults } {
  const faults = new Faults({ at: n, act: error, ...options });
  return { port: faults.wrap(port), faults };
}

export function countCalls<T extends object>(port: T): { readonly port: T; readonly faults: Faults } {
  const faults = new Faults();
  return { port: faults.wrap(port), faults };
}

/** The end of a process without notice, as by the out-of-memory killer and Lambda's time limit. */
export function dieHere(): void {
  // A process that ends by itself writes its cache of compiled modules, which the next one then reads.
  flushCompileCache();
  process.kill(process.pid, 'SIGKILL');
}
