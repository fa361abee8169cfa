/** Translates errors of the operating system into this software's own failures. */
import { Failure, type FailureCode } from '../../base/failure.ts';

type Words = readonly [code: FailureCode, detail: string];

/** Keys are errno(3) names. `io` is retried: the cause may be a failing disk or a network file system that recovers. */
const WORDS: ReadonlyMap<string, Words> = new Map<string, Words>([
  ['ENOSPC', ['no-space', 'the disk is full; make room and start again']],
  ['EDQUOT', ['no-space', 'the disk quota is used up; make room and start again']],
  ['EFBIG', ['too-large', 'the file system does not take files of that size']],
  ['EACCES', ['denied', 'the file system denies it; check the owner and the permissions of the folder']],
  ['EPERM', ['denied', 'the file system denies it; check the owner and the permissions of the folder']],
  ['EROFS', ['denied', 'the file system is mounted read-only']],
  ['EISDIR', ['invalid', 'other objects have keys below this one, so a folder cannot hold it as an object']],
  ['ENOTEMPTY', ['invalid', 'other objects have keys below this one, so a folder cannot hold it as an object']],
  ['ENOTDIR', ['invalid', 'a part of the path is a file, so nothing can lie below it']],
  ['EEXIST', ['invalid', 'a part of the path is a file, so nothing can lie below it']],
  ['ENAMETOOLONG', ['invalid', 'a part of the path is longer than the file system allows']],
  ['ELOOP', ['invalid', 'the path has too many symbolic links']],
  ['EINVAL', ['invalid', 'the file system does not support the operation']],
  ['ENOSYS', ['invalid', 'the file system does not support the operation']],
  ['ENOTSUP', ['invalid', 'the file system does not support the operation']],
  ['EOPNOTSUPP', ['invalid', 'the file system does not support the operation']],
  ['ENOENT', ['io', 'the file or folder does not exist']],
  ['EIO', ['io', 'the disk reports an error; check its health']],
  ['EMFILE', ['io', 'too many files are open; raise the limit (ulimit -n) or lower the concurrency']],
  ['ENFILE', ['io', 'too many files are open on this machine']],
  ['ENOMEM', ['io', 'this machine has no memory left']],
  ['EBUSY', ['io', 'another process uses the file']],
  ['ESTALE', ['io', 'the network file system no longer knows the file; check its mount']],
  ['ETIMEDOUT', ['io', 'the network file system does not answer; check its mount']],
  ['EHOSTDOWN', ['io', 'the server of the network file system is down']],
  ['ENOTCONN', ['io', 'the file system is disconnected; mount it again']],
  ['ENODEV', ['io', 'the device of the file system is gone']],
  ['ENXIO', ['io', 'the device of the file system is gone']],
]);

/** @param signal if it is aborted, the failure says so, whatever was thrown */
export function toFailure(thrown: unknown, operation: string, signal?: AbortSignal): Failure {
  if (thrown instanceof Failure) return thrown;
  if (signal?.aborted === true)
    return signal.reason instanceof Failure ? signal.reason : refuse(operation, 'aborted', 'stopped on request');
  const code = errnoOf(thrown);
  if (code === undefined) return refuse(operation, 'internal', messageOf(thrown), thrown);
  const [failureCode, detail] = WORDS.get(code) ?? ['io', ''];
  return refuse(operation, failureCode, detail === '' ? messageOf(thrown) : `${detail} (${messageOf(thrown)})`, thrown);
}

export function refuse(operation: string, code: FailureCode, detail: string, cause?: unknown): Failure {
  return new Failure({ operation, side: 'archive', code, detail, cause });
}

/** Runs a method's work and turns everything it throws into a Failure. */
export async function attempt<T>(
  operation: string,
  signal: AbortSignal | undefined,
  work: () => Promise<T>,
): Promise<T> {
  try {
    signal?.throwIfAborted();
    return await work();
  } catch (error) {
    throw toFailure(error, operation, signal);
  }
}

/** The same for a method that yields. */
export async function* attemptEach<T>(
  operation: string,
  signal: AbortSignal | undefined,
  items: AsyncIterable<T>,
): AsyncGenerator<T, void, void> {
  try {
    signal?.throwIfAborted();
    for await (const item of items) {
      yield item;
      signal?.throwIfAborted();
    }
  } catch (error) {
    throw toFailure(error, operation, signal);
  }
}

/** Whether the operating system reported one of these errors. */
export function isErrno(thrown: unknown, ...codes: readonly string[]): boolean {
  const code = errnoOf(thrown);
  return code !== undefined && codes.includes(code);
}

/** Whether no file has the name: it does not exist, or a part of its path is a file. */
export function isAbsent(thrown: unknown): boolean {
  return isErrno(thrown, 'ENOENT', 'ENOTDIR');
}

/** Whether open(2) refuses because the name stands for a socket, or for a device without a driver. */
export function isNotAFile(thrown: unknown): boolean {
  return isErrno(thrown, 'ENXIO', 'ENODEV', 'EOPNOTSUPP');
}

function errnoOf(thrown: unknown): string | undefined {
  return thrown instanceof Error && 'errno' in thrown && 'code' in thrown && typeof thrown.code === 'string'
    ? thrown.code
    : undefined;
}

export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}
