/**
 * Locks between processes. They are the kernel's (fcntl(2)), which releases them when a process ends for any reason, so that
 * stale locks do not exist.
 *
 * Node has no API for them, but its SQLite does: a transaction without writes is such a lock on an empty file
 * (https://www.sqlite.org/lockingv3.html, RESERVED). Locking and unlocking takes about 8 µs.
 */
import { existsSync, lstatSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as wait } from 'node:timers/promises';
import { messageOf, refuse } from './errors.ts';

/** SQLITE_BUSY, the primary result code in an error's low byte: the lock is taken. */
const BUSY = 5;
/** The maximum wait between two tries; the work under a lock takes microseconds. */
const PAUSE_MS = 4;
/** A process that holds a lock for longer was stopped with SIGSTOP, or its disk does not respond. */
const MAX_WAIT_MS = 60_000;

/** A lock that an object holds until it is released; other attempts fail immediately. */
export class Claim {
  readonly #database: DatabaseSync;

  private constructor(database: DatabaseSync) {
    this.#database = database;
  }

  /** `undefined` if the lock is taken, or if its folder does not exist. */
  static take(path: string): Claim | undefined {
    let database: DatabaseSync;
    try {
      database = open(path);
    } catch (error) {
      if (existsSync(dirname(path))) throw error;
      return undefined;
    }
    if (lock(database, path)) return new Claim(database);
    database.close();
    return undefined;
  }

  release(): void {
    if (this.#database.isOpen) this.#database.close();
  }
}

/** A lock that is held for one synchronous piece of work at a time. */
export class Mutex {
  readonly #path: string;
  #database: DatabaseSync | undefined;

  constructor(path: string) {
    this.#path = path;
  }

  /** Runs `work` under the lock, which excludes this process and others. The wait for the lock can be aborted. */
  async run<T>(work: () => T, signal?: AbortSignal): Promise<T> {
    this.#database ??= open(this.#path);
    for (let waited = 0; !lock(this.#database, this.#path);) {
      if (waited > MAX_WAIT_MS)
        throw refuse(`lock ${this.#path}`, 'unavailable', 'another process does not release it; end that process');
      const pause = Math.random() * PAUSE_MS;
      await wait(pause, undefined, { signal });
      waited += pause;
      this.#database ??= open(this.#path);
    }
    try {
      signal?.throwIfAborted();
      return work();
    } finally {
      this.#database.exec('ROLLBACK');
    }
  }

  close(): void {
    this.#database?.close();
    this.#database = undefined;
  }
}

/**
 * Whether the name is free, or that of an empty regular file. SQLite would follow links, and would write to a database with
 * a journal, and to the files that the journal names.
 */
export function mayBeLock(path: string): boolean {
  const found = lstatSync(path, { throwIfNoEntry: false });
  return found === undefined || (found.isFile() && found.size === 0);
}

function open(path: string): DatabaseSync {
  if (!mayBeLock(path)) throw refuse(`lock ${path}`, 'invalid', 'expected an empty file; remove it');
  try {
    const database = new DatabaseSync(path, { timeout: 0 });
    // Without this, SQLite would create a journal file.
    database.exec('PRAGMA journal_mode = MEMORY');
    return database;
  } catch (error) {
    throw refuse(
      `lock ${path}`,
      'io',
      `${messageOf(error)}; check that the folder is writable and that its file system can lock files`,
    );
  }
}

function lock(database: DatabaseSync, path: string): boolean {
  try {
    database.exec('BEGIN IMMEDIATE');
    return true;
  } catch (error) {
    if (((error as { readonly errcode?: number }).errcode ?? 0) % 256 === BUSY) return false;
    throw refuse(`lock ${path}`, 'io', `${messageOf(error)}; check that the file system of the folder can lock files`);
  }
}
