import type { BigIntStats } from 'node:fs';
import { Lru } from '../../core/lru.ts';

/** Files whose versions are kept, such as the tag indexes that a process uses. */
const FILES = 1_000;

/**
 * The age from which on a file is known by its times. A file system writes the time of its last tick, which may be two
 * seconds long (FAT), and two replacements within a tick may look the same.
 */
const SETTLED_MS = 3_000;

/**
 * The versions of files that were hashed before. A file of the same inode, size and times has the same version, and need
 * not be read again: every write to a file sets its ctime (inode(7)), and a file that replaces it has another inode or a
 * later ctime.
 */
export class KnownVersions {
  readonly #versions = new Lru<string, { readonly identity: string; readonly etag: string }>(FILES);

  /** The version of the file that has these stats; undefined if it is unknown. */
  find(key: string, stats: BigIntStats): string | undefined {
    const known = this.#versions.get(key);
    return known?.identity === identityOf(stats) ? known.etag : undefined;
  }

  /**
   * @param stats from before the bytes were read
   * @param now milliseconds since the epoch, from before `stats`
   */
  add(key: string, stats: BigIntStats, etag: string, now: number): void {
    if (Number(stats.ctimeMs) <= now - SETTLED_MS) this.#versions.set(key, { identity: identityOf(stats), etag });
  }
}

function identityOf({ dev, ino, size, mtimeNs, ctimeNs }: BigIntStats): string {
  return `${dev}:${ino}:${size}:${mtimeNs}:${ctimeNs}`;
}
