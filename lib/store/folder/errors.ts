/** Translates errors of the operating system into this software's own failures. */
import { Failure, type FailureCode } from '../../core/failure.ts';
import { systemCode, systemWords } from '../../core/system-error.ts';

/** The failure's code and remedy per error of the operating system; `lib/core/system-error.ts` describes the errors. */
const CODES: ReadonlyMap<string, readonly [code: FailureCode, check?: string]> = new Map<
  string,
  readonly [FailureCode, string?]
>([
  ['ENOSPC', ['no-space', '; free some space and run the command again']],
  ['EDQUOT', ['no-space', '; free some space and run the command again']],
  ['EFBIG', ['too-large']],
  ['EACCES', ['denied', '; check the owner and the permissions of the folder']],
  ['EPERM', ['denied', '; check the owner and the permissions of the folder']],
  ['EROFS', ['denied']],
  ['ENAMETOOLONG', ['invalid']],
  ['ELOOP', ['invalid']],
  // `io` is retried: the cause may be a failing disk or a network file system that recovers.
  ['ENOENT', ['io']],
  ['EIO', ['io', '; check the health of the disk']],
  ['EMFILE', ['io', ', or lower the concurrency']],
  ['ENFILE', ['io']],
  ['ENOMEM', ['io']],
  ['EBUSY', ['io']],
  ['ESTALE', ['io', '; check the mount']],
  ['ETIMEDOUT', ['io', '; check the mount of the network file system']],
  ['EHOSTDOWN', ['io', '; check the mount of the network file system']],
  ['ENOTCONN', ['io', '; check the mount']],
  ['ENODEV', ['io', '; check the mount']],
  ['ENXIO', ['io', '; check the mount']],
]);

const BELOW = 'other objects have keys below this one, so a folder cannot hold it as an object';
const ABOVE = 'a part of the path is a file, so nothing can lie below it';
const UNSUPPORTED = 'the file system does not support the operation';

/** Errors with another meaning for the keys of an archive than for a file that a user names. */
const OF_KEYS: ReadonlyMap<string, string> = new Map([
  ['EISDIR', BELOW],
  ['ENOTEMPTY', BELOW],
  ['ENOTDIR', ABOVE],
  ['EEXIST', ABOVE],
  ['EINVAL', UNSUPPORTED],
  ['ENOSYS', UNSUPPORTED],
  ['ENOTSUP', UNSUPPORTED],
  ['EOPNOTSUPP', UNSUPPORTED],
]);

/** @param signal if it is aborted, so is the failure, whatever was thrown */
export function toFailure(thrown: unknown, operation: string, signal?: AbortSignal): Failure {
  if (thrown instanceof Failure) return thrown;
  if (signal?.aborted === true)
    return signal.reason instanceof Failure ? signal.reason : refuse(operation, 'aborted', 'stopped on request');
  const code = errnoOf(thrown);
  if (code === undefined) return refuse(operation, 'internal', messageOf(thrown), thrown);
  const said = messageOf(thrown);
  const ofKeys = OF_KEYS.get(code);
  if (ofKeys !== undefined) return refuse(operation, 'invalid', `${ofKeys} (${said})`, thrown);
  const [failureCode, check = ''] = CODES.get(code) ?? ['io'];
  const words = systemWords(thrown);
  return refuse(operation, failureCode, words === undefined ? said : `${words}${check} (${said})`, thrown);
}

export function refuse(operation: string, code: FailureCode, detail: string, cause?: unknown): Failure {
  return new Failure({ operation, side: 'archive', code, detail, cause });
}

/** Runs the work of a method and maps everything it throws to a Failure. */
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

/** The same for a generator method. */
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

/** For `catch`: the result of a call whose file may be missing. */
export function undefinedIfAbsent(error: unknown): undefined {
  if (!isAbsent(error)) throw error;
}

/** Whether open(2) refuses because the name stands for a socket, or for a device without a driver. */
export function isNotAFile(thrown: unknown): boolean {
  return isErrno(thrown, 'ENXIO', 'ENODEV', 'EOPNOTSUPP');
}

function errnoOf(thrown: unknown): string | undefined {
  return thrown instanceof Error && 'errno' in thrown ? systemCode(thrown) : undefined;
}

export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}
