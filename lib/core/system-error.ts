import { constants } from 'node:os';
import { own } from './own.ts';

/**
 * The words for error codes of the operating system, the resolver and the network: one table for files, registries and
 * S3. A code that is not listed is shown as the system reported it.
 */
const WORDS: Readonly<Record<string, string>> = {
  // Files.
  ENOENT: 'no such file or directory',
  EISDIR: 'it is a directory',
  ENOTDIR: 'a part of its path is a file',
  EACCES: 'permission denied',
  EPERM: 'operation not permitted',
  EROFS: 'the file system is mounted read-only',
  ENOSPC: 'the disk is full',
  EDQUOT: 'the disk quota is used up',
  EFBIG: 'the file system does not take files of that size',
  ENAMETOOLONG: 'a part of its path is longer than the file system allows',
  ELOOP: 'its path has too many symbolic links',
  EMFILE: 'too many files are open; raise the limit (ulimit -n)',
  ENFILE: 'too many files are open on this machine',
  EIO: 'the device reported an input/output error',
  ENODEV: 'no such device',
  ENXIO: 'no such device',
  EBUSY: 'it is in use',
  ENOMEM: 'this machine has no memory left',
  ESTALE: 'the network file system no longer knows the file',
  ENOTCONN: 'it is not connected',
  ERR_FS_FILE_TOO_LARGE: 'the file is larger than 2 GiB',
  // The network.
  ECONNREFUSED: 'the connection was refused',
  ECONNRESET: 'the connection was reset',
  ECONNABORTED: 'the connection was aborted',
  EPIPE: 'the connection was closed by the other side',
  ETIMEDOUT: 'the connection timed out',
  EHOSTUNREACH: 'no route to the host',
  EHOSTDOWN: 'the host is down',
  ENETUNREACH: 'the network is unreachable',
  ENETDOWN: 'the network is down',
  EADDRNOTAVAIL: 'no local address or port is free for the connection',
  ENOTFOUND: 'the host name is unknown',
  ENODATA: 'the host name has no address',
  EAI_AGAIN: 'the host name could not be resolved for now',
  EAI_FAIL: 'the name server failed',
  EAI_NODATA: 'the host name has no address',
  EAI_NONAME: 'the host name is unknown',
};

/** The words for what the system threw; undefined for any other error. */
export function systemWords(thrown: unknown): string | undefined {
  const code = systemCode(thrown);
  return code === undefined ? undefined : own(WORDS, code);
}

/** The words for what the system threw, or else the error's own message. */
export function wordsFor(thrown: unknown): string {
  return systemWords(thrown) ?? (thrown instanceof Error ? thrown.message : String(thrown));
}

/** The names of the errors that libuv does not know, such as EDQUOT: their code is UNKNOWN or `Unknown system error -122`. */
const NAMES: ReadonlyMap<number, string> = new Map(
  Object.entries(constants.errno).map(([name, number]) => [-number, name]),
);

/** The code of an error. A connection that was tried at several addresses has an error for each; the first one counts. */
export function systemCode(thrown: unknown): string | undefined {
  if (thrown instanceof AggregateError && thrown.errors.length > 0) return systemCode(thrown.errors[0]);
  const code: unknown = thrown instanceof Error && 'code' in thrown ? thrown.code : undefined;
  if (typeof code !== 'string') return undefined;
  return /^unknown\b/i.test(code) ? (nameOf(thrown) ?? code) : code;
}

function nameOf(thrown: unknown): string | undefined {
  const errno: unknown = thrown instanceof Error && 'errno' in thrown ? thrown.errno : undefined;
  return typeof errno === 'number' ? NAMES.get(errno) : undefined;
}
