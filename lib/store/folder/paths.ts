/**
 * The paths in an archive's folder. The path of an object is its key. The store keeps its own files under `.mirror/`, which
 * is not available to keys:
 *
 * ```
 * .mirror/lock             the lock for every change of a name: see lock.ts
 * .mirror/running          the lock of a running sync, which a second one reports
 * .mirror/tmp/<uuid>       temporary files; those of killed processes are removed after a day
 * .mirror/uploads/<uuid>/  one unfinished upload: see uploads.ts
 * blobs/.tmp/<uuid>        temporary files, if `blobs` is a link to another disk
 * ```
 *
 * The folder may be untrusted, for example extracted from a tar file, so no path may lead out of it. Each folder below the
 * root must be a real folder, except `blobs`, which may be a link that keeps the content on another disk. The root may also
 * be a link.
 *
 * The checks run directly before each access. They cannot stop a user with write access who replaces a folder with a link
 * between the check and the access, because Node.js has no openat(2).
 */
import { lstatSync, realpathSync, type Stats, statSync } from 'node:fs';
import { dirname, join, relative, resolve, sep } from 'node:path';
import { Lru } from '../../core/lru.ts';
import { isAbsent, refuse } from './errors.ts';

/** The number of folders that a store remembers as checked; a repository has three. */
const CHECKED = 10_000;

const OWN = ['.mirror/lock', '.mirror/running', '.mirror/tmp', '.mirror/uploads', 'blobs/.tmp'];

/** The form of temporary names and of upload ids, from `randomUUID`. */
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

export function isUuid(name: string): boolean {
  return UUID.test(name);
}

/** The one entry below the root that may be a symbolic link. */
const LINKABLE = 'blobs';

export class Paths {
  readonly root: string;
  readonly lock: string;
  readonly running: string;
  readonly temporary: string;
  readonly uploads: string;
  readonly blobs: string;
  /** Temporary files on the disk of `blobs`, to which files in `temporary` cannot be renamed. */
  readonly temporaryOfBlobs: string;
  /** The first real paths of the root and of `blobs`, which must not change. */
  readonly #real = new Map<string, string>();
  /** The device and inode of each checked folder; resolving a path takes ten times as long as a stat call. */
  readonly #checked = new Lru<string, Pick<Stats, 'dev' | 'ino'>>(CHECKED);

  constructor(root: string) {
    this.root = resolve(root);
    this.lock = join(this.root, '.mirror/lock');
    this.running = join(this.root, '.mirror/running');
    this.temporary = join(this.root, '.mirror/tmp');
    this.uploads = join(this.root, '.mirror/uploads');
    this.blobs = join(this.root, LINKABLE);
    this.temporaryOfBlobs = join(this.blobs, '.tmp');
  }

  /** @throws Failure `invalid` for a key outside the archive, or of one of the store's own files */
  object(key: string): string {
    if (!isPath(key))
      throw refuse(`look up key ${JSON.stringify(key)}`, 'invalid', 'the key is not a path below the archive');
    if (this.isOwn(key)) throw refuse(`look up key ${key}`, 'invalid', 'the folder store keeps its own files there');
    return join(this.root, key);
  }

  isOwn(key: string): boolean {
    return OWN.some((own) => key.startsWith(own) && (key.length === own.length || key[own.length] === '/'));
  }

  /** Whether a key may be a symbolic link to a folder of the archive. */
  mayBeLink(key: string): boolean {
    return key === LINKABLE;
  }

  /**
   * Checks a folder synchronously, directly before a synchronous access.
   *
   * @param folder the root or a folder below it
   * @throws Failure `invalid` if a part of its path below the root is a symbolic link; ENOENT if it does not exist
   */
  checkReal(folder: string): void {
    // A path with the same device and inode still leads to the checked folder.
    const found = statSync(folder, { throwIfNoEntry: false });
    const known = this.#checked.get(folder);
    if (known !== undefined && known.dev === found?.dev && known.ino === found.ino) return;
    this.#resolve(folder);
    if (found !== undefined) this.#checked.set(folder, { dev: found.dev, ino: found.ino });
  }

  #resolve(folder: string): void {
    const base = folder === this.blobs || folder.startsWith(this.blobs + sep) ? this.blobs : this.root;
    const expected = join(this.#realOf(base), relative(base, folder));
    const real = realpathSync.native(folder);
    if (real === expected) return;
    throw refuse(
      `open folder ${folder}`,
      'invalid',
      `a part of its path is a symbolic link (to ${real}); replace the link with a real folder (only "blobs" may be a link)`,
    );
  }

  #realOf(base: string): string {
    let real = this.#real.get(base);
    if (real === undefined) {
      real = realOf(base);
      // `blobs` must be in the root if it is not a link.
      if (base !== this.root && !lstatSync(base).isSymbolicLink()) real = join(this.#realOf(dirname(base)), LINKABLE);
      this.#real.set(base, real);
    }
    return real;
  }
}

/** Segments other than an empty one, `.` and `..`, without a backslash or a NUL. */
const PATH = /^(?!\.{1,2}(?:\/|$))[^/\\\0]+(?:\/(?!\.{1,2}(?:\/|$))[^/\\\0]+)*$/;

/** Whether a key stays below the root. */
function isPath(key: string): boolean {
  return PATH.test(key);
}

function realOf(path: string): string {
  try {
    return realpathSync.native(path);
  } catch (error) {
    if (isAbsent(error) && isLink(path)) throw leadsNowhere(path);
    throw error;
  }
}

function isLink(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() === true;
}

/** @throws Failure `invalid` if a file or a dangling link has the name */
export function isFolder(path: string): boolean {
  try {
    const found = statSync(path, { throwIfNoEntry: false });
    if (found?.isDirectory() === true) return true;
    if (found !== undefined) throw refuse(`make folder ${path}`, 'invalid', `${path} is a file`);
    if (isLink(path)) throw leadsNowhere(path);
    return false;
  } catch (error) {
    // The parent is a file, and the check of the parent reports it.
    if (isAbsent(error)) return false;
    throw error;
  }
}

function leadsNowhere(path: string): Error {
  return refuse(
    `open folder ${path}`,
    'invalid',
    `${path} is a symbolic link without a target; check that its disk is mounted`,
  );
}
