/**
 * Where things are in an archive's folder. An object is the file that its key names. The store keeps its own files under
 * `.mirror/`, where no key leads:
 *
 * ```
 * .mirror/lock             taken for every change of a name: see lock.ts
 * .mirror/running          held by a process that syncs, so that a second one can say so
 * .mirror/tmp/<uuid>       files that have no name yet; leftovers of killed processes are removed after a day
 * .mirror/uploads/<uuid>/  one unfinished upload: see uploads.ts
 * blobs/.tmp/<uuid>        the same as .mirror/tmp, if `blobs` is a link to another disk
 * ```
 *
 * Somebody else may have made the folder: it may come from a tar file. So no path may lead out of it. Each folder below the
 * root must be a real folder. One symbolic link is allowed, the archive's own `blobs`, which a user sets to keep the content
 * on another disk. The root itself may be a link.
 *
 * The checks look at the folder as it is at that moment, directly before each access. They do not stop a user who can write
 * into the folder while this process runs and who replaces a folder by a link between the check and the access: Node.js has
 * no openat(2).
 */
import { lstatSync, realpathSync, statSync } from 'node:fs';
import { dirname, join, relative, resolve, sep } from 'node:path';
import { Lru } from '../../core/lru.ts';
import { isAbsent, refuse } from './errors.ts';

/** How many folders a store remembers as checked: a repository has three. */
const CHECKED = 10_000;

const OWN = ['.mirror/lock', '.mirror/running', '.mirror/tmp', '.mirror/uploads', 'blobs/.tmp'];

/** The form of every temporary name and of every upload's id: `randomUUID` makes them. */
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
  /** For files that cannot be renamed from `temporary`, because `blobs` is on another disk. */
  readonly temporaryOfBlobs: string;
  /** Real paths, as they were first seen: a root or a `blobs` that is linked elsewhere meanwhile is noticed. */
  readonly #real = new Map<string, string>();
  /** The device and inode of each folder that was checked: resolving a path takes ten times as long as a look at it. */
  readonly #checked = new Lru<string, string>(CHECKED);

  constructor(root: string) {
    this.root = resolve(root);
    this.lock = join(this.root, '.mirror/lock');
    this.running = join(this.root, '.mirror/running');
    this.temporary = join(this.root, '.mirror/tmp');
    this.uploads = join(this.root, '.mirror/uploads');
    this.blobs = join(this.root, LINKABLE);
    this.temporaryOfBlobs = join(this.blobs, '.tmp');
  }

  /** @throws Failure `invalid` for a key that names nothing inside the archive, or one of the store's own files */
  object(key: string): string {
    if (!isPath(key))
      throw refuse(`look up key ${JSON.stringify(key)}`, 'invalid', 'it is not a path below the archive');
    if (this.isOwn(key)) throw refuse(`look up key ${key}`, 'invalid', 'the folder store keeps its own files there');
    return join(this.root, key);
  }

  isOwn(key: string): boolean {
    return OWN.some((own) => key.startsWith(own) && (key.length === own.length || key[own.length] === '/'));
  }

  /** Whether a key may name a symbolic link to a folder that belongs to the archive. */
  mayBeLink(key: string): boolean {
    return key === LINKABLE;
  }

  /**
   * Synchronous, so that nothing happens between it and a synchronous access.
   *
   * @param folder the root or a folder below it
   * @throws Failure `invalid` if a part of its path below the root is a symbolic link; ENOENT if it does not exist
   */
  checkReal(folder: string): void {
    // A path that leads to the same folder as before is the same path, or another one that leads nowhere else.
    const found = statSync(folder, { throwIfNoEntry: false });
    const identity = `${found?.dev}:${found?.ino}`;
    if (this.#checked.get(folder) === identity) return;
    this.#resolve(folder);
    this.#checked.set(folder, identity);
  }

  #resolve(folder: string): void {
    const base = folder === this.blobs || folder.startsWith(this.blobs + sep) ? this.blobs : this.root;
    const expected = join(this.#realOf(base), relative(base, folder));
    const real = realpathSync.native(folder);
    if (real === expected) return;
    throw refuse(
      `open folder ${folder}`,
      'invalid',
      `a part of its path is a symbolic link (it leads to ${real}); replace the link by a real folder (only "blobs" may be a link)`,
    );
  }

  #realOf(base: string): string {
    let real = this.#real.get(base);
    if (real === undefined) {
      real = realOf(base);
      // `blobs` that is not a link must lie in the root.
      if (base !== this.root && !lstatSync(base).isSymbolicLink()) real = join(this.#realOf(dirname(base)), LINKABLE);
      this.#real.set(base, real);
    }
    return real;
  }
}

/** Segments that are not empty, `.` or `..`, and that have no backslash and no NUL. */
const PATH = /^(?!\.{1,2}(?:\/|$))[^/\\\0]+(?:\/(?!\.{1,2}(?:\/|$))[^/\\\0]+)*$/;

/** Whether a key, joined to the root, stays below it. */
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
    // What would be its parent is a file: that one says so.
    if (isAbsent(error)) return false;
    throw error;
  }
}

function leadsNowhere(path: string): Error {
  return refuse(
    `open folder ${path}`,
    'invalid',
    `${path} is a symbolic link that leads nowhere; is its disk mounted?`,
  );
}
