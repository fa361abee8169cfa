import { createHmac, randomBytes } from 'node:crypto';
import { stat } from 'node:fs/promises';
import { asFailure, Failure } from '../core/failure.ts';
import { Lru } from '../core/lru.ts';
import { SharedWork } from '../core/shared-work.ts';
import { inputFile } from '../core/input-file.ts';
import { wordsFor } from '../core/system-error.ts';
import { BcryptThread } from './bcrypt.ts';
import { RegistryError } from './errors.ts';
import { costOf, parseHtpasswd, type Users } from './htpasswd.ts';
import { basicCredentials, type Logins } from './logins.ts';

export interface HtpasswdOptions {
  readonly file: string;
  /** Called with a sentence each time the file has changed and cannot be used. */
  readonly onFault: (text: string) => void;
  /** Compares a password with a bcrypt hash; on a thread by default. */
  readonly compare?: (password: string, hash: string) => Promise<boolean>;
  /** Ends the first read of the file. */
  readonly signal?: AbortSignal;
  /** Milliseconds since the epoch. */
  readonly now?: () => number;
}

/** The interval at which the file is checked for changes. */
const CHECK_MS = 1_000;
/** The time for which a password is accepted without another comparison, if the file keeps its hash. */
const ACCEPTED_MS = 5 * 60_000;
const MAX_ACCEPTED = 10_000;
/** The comparisons that may wait. At a cost of 10 they take about 5 s. */
const MAX_WAITING = 50;

interface Loaded {
  readonly users: Users;
  /** The hash for unknown users, so that their logins take as long as those of known users. */
  readonly decoy: string;
}

/** The users of an htpasswd file with bcrypt hashes. The file is read again when it has changed. */
export class HtpasswdLogins implements Logins {
  readonly #o: HtpasswdOptions;
  readonly #now: () => number;
  readonly #compare: NonNullable<HtpasswdOptions['compare']>;
  readonly #comparing = new SharedWork<boolean>();
  #waiting = 0;
  /** Accepted logins by a keyed hash of user and password, so that no password stays in memory. */
  readonly #accepted = new Lru<string, { readonly hash: string; readonly until: number }>(MAX_ACCEPTED);
  readonly #key = randomBytes(32);
  #loaded: Promise<Loaded>;
  #stamp: string;
  #checkAt: number;

  /** @throws Failure `invalid` for a file that cannot be used */
  static async open(options: HtpasswdOptions): Promise<HtpasswdLogins> {
    const stamp = await stampOf(options.file);
    return new HtpasswdLogins(options, await load(options.file, options.signal), stamp);
  }

  private constructor(options: HtpasswdOptions, loaded: Loaded, stamp: string) {
    const { compare, now = Date.now } = options;
    const thread = new BcryptThread();
    this.#o = options;
    this.#now = now;
    this.#compare = compare ?? ((password, hash) => thread.compare(password, hash));
    this.#loaded = Promise.resolve(loaded);
    this.#stamp = stamp;
    this.#checkAt = now() + CHECK_MS;
  }

  /** @throws RegistryError if the file cannot be used now, or too many logins wait */
  async userOf(authorization: string | undefined): Promise<string | undefined> {
    const credentials = basicCredentials(authorization);
    if (credentials === undefined) return undefined;
    const { user, password } = credentials;
    const { users, decoy } = await this.#current();
    const hash = users.get(user);
    const fingerprint = createHmac('sha256', this.#key).update(`${user}:${password}`).digest('base64');
    const accepted = this.#accepted.get(fingerprint);
    if (accepted !== undefined && accepted.hash === hash && this.#now() < accepted.until) return user;
    const matches = await this.#matches(`${fingerprint} ${hash ?? ''}`, password, hash ?? decoy);
    if (!matches || hash === undefined) return undefined;
    this.#accepted.set(fingerprint, { hash, until: this.#now() + ACCEPTED_MS });
    return user;
  }

  /** Concurrent requests of one client share a comparison. */
  async #matches(key: string, password: string, hash: string): Promise<boolean> {
    return await this.#comparing.join(key, async () => {
      if (this.#waiting >= MAX_WAITING) throw tooMany();
      this.#waiting += 1;
      try {
        return await this.#compare(password, hash);
      } finally {
        this.#waiting -= 1;
      }
    });
  }

  /** A file that has become invalid accepts no login, so that a removed user is never kept by a mistake in another line. */
  async #current(): Promise<Loaded> {
    if (this.#now() >= this.#checkAt) {
      this.#checkAt = this.#now() + CHECK_MS;
      this.#loaded = this.#reload(this.#loaded);
    }
    try {
      return await this.#loaded;
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      throw new RegistryError(503, 'UNAVAILABLE', 'logins cannot be checked now; the log of the server says why');
    }
  }

  async #reload(before: Promise<Loaded>): Promise<Loaded> {
    const { file, onFault } = this.#o;
    // Taken before the file is read: a change during the read is noticed at the next check.
    const stamp = await stampOf(file);
    if (stamp === this.#stamp) return await before;
    this.#stamp = stamp;
    try {
      return await load(file);
    } catch (error) {
      onFault(
        `${asFailure(error, `read logins ${file}`, 'input').message}; no login is accepted until it is corrected`,
      );
      throw error;
    }
  }
}

/** Changes whenever the file is written or replaced, even by a file with an older time. */
async function stampOf(file: string): Promise<string> {
  try {
    const { ino, size, mtimeNs, ctimeNs } = await stat(file, { bigint: true });
    return [ino, size, mtimeNs, ctimeNs].join(' ');
  } catch (error) {
    return wordsFor(error);
  }
}

async function load(file: string, signal?: AbortSignal): Promise<Loaded> {
  const users = parseHtpasswd(await inputFile('read logins', file, { signal }), file);
  const salt = randomBytes(40).toString('hex').slice(0, 53);
  return { users, decoy: `$2b$${String(costOf(users)).padStart(2, '0')}$${salt}` };
}

function tooMany(): RegistryError {
  const message = 'too many logins are being checked; try again';
  return new RegistryError(429, 'TOOMANYREQUESTS', message, { 'retry-after': '5' });
}
