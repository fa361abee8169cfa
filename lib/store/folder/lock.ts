/**
 * Locks between processes that end with their owner, however it ends: the kernel's own (fcntl(2)), which it lets go of
 * when a process is killed. So there is no owner to look for, no age to guess, and nothing to clean.
 *
 * Node has no call for them, but the SQLite that comes with it has: a transaction that is begun and never writes is such a
 * lock on an empty file (https://www.sqlite.org/lockingv3.html, RESERVED). Taking and leaving one takes about 8 µs.
 */
import { existsSync, lstatSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as wait } from 'node:timers/promises';
import { messageOf, refuse } from './errors.ts';

/** SQLITE_BUSY, the primary result code in an error's low byte: another has the lock. */
const BUSY = 5;
/** Bound of the wait between two tries, in milliseconds. What is done under a lock takes microseconds. */
const PAUSE_MS = 4;
/** A process that holds a lock for so long, in milliseconds, was stopped with SIGSTOP, or its disk does not answer. */
const PATIENCE_MS = 60_000;

/** One lock, for as long as an object lives: whoever else wants it sees at once that it is taken. */
export class Claim {
  readonly #database: DatabaseSync;

  private constructor(database: DatabaseSync) {
    this.#database = database;
  }

  /** `undefined` while another has it, and where its folder is gone. */
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

/** A lock that is taken again and again, each time for one synchronous piece of work. */
export class Mutex {
  readonly #path: string;
  #database: DatabaseSync | undefined;

  constructor(path: string) {
    this.#path = path;
  }

  /** Runs `work` while nobody else, in this process or another, runs theirs. Waits for its turn, abortably. */
  async run<T>(work: () => T, signal?: AbortSignal): Promise<T> {
    this.#database ??= open(this.#path);
    for (let waited = 0; !lock(this.#database, this.#path);) {
      if (waited > PATIENCE_MS)
        throw refuse(`lock ${this.#path}`, 'unavailable', 'another process holds it and does not let go of it');
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
 * Such a lock is always an empty file. SQLite follows links, and writes to a database that has a journal beside it, even
 * to files that the journal names: so nothing else is opened.
 */
function checkIsLock(path: string): void {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found !== undefined && (!found.isFile() || found.size > 0))
    throw refuse(`lock ${path}`, 'invalid', 'it is not an empty file, as a lock is; remove it');
}

function open(path: string): DatabaseSync {
  checkIsLock(path);
  try {
    const database = new DatabaseSync(path, { timeout: 0 });
    // Nothing is ever written, not even the journal that SQLite would else begin beside it.
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
