/** What the operating system says, as this software's own failures. */
import { Failure, type FailureCode } from '../../base/failure.ts';

type Words = readonly [code: FailureCode, detail: string];

/** errno(3). What is not listed may be a disk that is failing, or a cable: `io`, which is tried again. */
const WORDS: Readonly<Record<string, Words>> = {
  ENOSPC: ['no-space', 'the disk is full; make room and start again'],
  EDQUOT: ['no-space', 'the disk quota is used up; make room and start again'],
  EFBIG: ['too-large', 'the file system does not take files of that size'],
  EACCES: ['denied', 'the file system denies it; check who owns the folder, and its permissions'],
  EPERM: ['denied', 'the file system denies it; check who owns the folder, and its permissions'],
  EROFS: ['denied', 'the file system is mounted read-only'],
  EISDIR: ['invalid', 'other objects have keys below it, so in a folder it cannot be an object itself'],
  ENOTEMPTY: ['invalid', 'other objects have keys below it, so in a folder it cannot be an object itself'],
  ENOTDIR: ['invalid', 'a part of its path is a file, so in a folder nothing can be below it'],
  EEXIST: ['invalid', 'a part of its path is a file, so in a folder nothing can be below it'],
  ENAMETOOLONG: ['invalid', 'a part of its path is longer than the file system allows'],
  ELOOP: ['invalid', 'its path has too many symbolic links'],
  EMFILE: ['io', 'too many files are open; raise the limit (ulimit -n) or lower the concurrency'],
  ENFILE: ['io', 'too many files are open on this machine'],
};

/** @param signal where it is aborted, that is why, whatever was thrown */
export function toFailure(thrown: unknown, operation: string, signal?: AbortSignal): Failure {
  if (thrown instanceof Failure) return thrown;
  if (signal?.aborted === true)
    return signal.reason instanceof Failure ? signal.reason : refuse(operation, 'aborted', 'stopped on request');
  const code = errnoOf(thrown);
  if (code === undefined) return refuse(operation, 'internal', messageOf(thrown), thrown);
  const [failureCode, detail] = WORDS[code] ?? ['io', ''];
  return refuse(operation, failureCode, detail === '' ? messageOf(thrown) : `${detail} (${messageOf(thrown)})`, thrown);
}

export function refuse(operation: string, code: FailureCode, detail: string, cause?: unknown): Failure {
  return new Failure({ operation, side: 'archive', code, detail, cause });
}

/** Runs a method's work; whatever it throws is a Failure. */
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

/** Whether it is one of these of the operating system's errors. */
export function isErrno(thrown: unknown, ...codes: readonly string[]): boolean {
  const code = errnoOf(thrown);
  return code !== undefined && codes.includes(code);
}

/** There is no such file; or what would be its folder is a file, so that there cannot be one. */
export function isAbsent(thrown: unknown): boolean {
  return isErrno(thrown, 'ENOENT', 'ENOTDIR');
}

function errnoOf(thrown: unknown): string | undefined {
  return thrown instanceof Error && 'errno' in thrown && 'code' in thrown && typeof thrown.code === 'string'
    ? thrown.code
    : undefined;
}

export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}
