import { Failure } from '../base/failure.ts';
import type { Archive } from '../archive/archive.ts';
import { scopesOf } from '../archive/tag-index.ts';
import { cachedReader } from '../mirror/cached-reader.ts';
import { checkClosure, type ClosureReader, receiptReader } from '../mirror/closure.ts';
import type { Digest } from '../oci/digest.ts';
import type { Scope } from '../queue/messages.ts';
import type { ListCommand } from './command.ts';
import { bytes } from './format.ts';
import { EXIT, type Io } from './io.ts';

interface Row {
  readonly reference: string;
  readonly digest: string;
  readonly size: number | null;
  readonly observed: string | null;
  /** For what a tag has left behind: the tag. */
  readonly hadTag?: string;
}

/**
 * What an archive holds: tags first, and what is kept by digest alone. Resolves to 1 where a repository's tag index cannot
 * be read; the others are listed all the same.
 */
export async function ls({ json }: ListCommand, archive: Archive, { stdout, stderr, signal }: Io): Promise<number> {
  let code: number = EXIT.ok;
  const rows: Row[] = [];
  const reader = cachedReader(receiptReader(archive, signal));
  const repositories: string[] = [];
  for await (const repository of archive.repositories({ signal })) repositories.push(repository);
  for (const repository of repositories.sort()) {
    const index = await readable(archive.tagIndex(repository, { signal }), (failure) => {
      stderr.write(`${repository}: ${failure.message}\n`);
      code = EXIT.failed;
    });
    for (const entry of index?.index.entries() ?? []) {
      const { tag, digest, observed, hadTag } = entry;
      rows.push({
        reference: tag === undefined ? `${repository}@${digest}` : `${repository}:${tag}`,
        digest,
        size: await imageBytes(reader, digest, scopesOf(entry)[0]),
        observed: observed === 0 ? null : new Date(observed).toISOString(),
        ...(hadTag === undefined ? {} : { hadTag }),
      });
    }
  }
  if (json) for (const row of rows) stdout.write(`${JSON.stringify(row)}\n`);
  else stdout.write(table(rows));
  return code;
}

/** What was read; nothing, once that is told, of what has rotted. */
async function readable<T>(reading: Promise<T>, tell: (failure: Failure) => void): Promise<T | undefined> {
  try {
    return await reading;
  } catch (error) {
    if (!(error instanceof Failure) || error.code !== 'corrupt') throw error;
    tell(error);
    return undefined;
  }
}

/** Bytes of everything that the reference stands for; null where something of it is missing or wrong: `verify` tells. */
async function imageBytes(reader: ClosureReader, digest: Digest, scope: Scope): Promise<number | null> {
  try {
    const state = await checkClosure(digest, scope, reader);
    return state.complete ? state.bytes : null;
  } catch (error) {
    if (error instanceof Failure && error.remedy === 'never') return null;
    throw error;
  }
}

function table(rows: readonly Row[]): string {
  const head = ['REFERENCE', 'DIGEST', 'SIZE', 'OBSERVED'];
  const lines = rows.map(({ reference, digest, size, observed, hadTag }) => [
    hadTag === undefined ? reference : `${reference} (was ${hadTag})`,
    digest,
    size === null ? 'incomplete' : bytes(size),
    observed ?? '',
  ]);
  const all = [head, ...lines];
  const widths = head.map((_, column) => Math.max(...all.map((line) => line[column]?.length ?? 0)));
  return all
    .map(
      (line) =>
        `${line
          .map((cell, column) => cell.padEnd(widths[column] ?? 0))
          .join('  ')
          .trimEnd()}\n`,
    )
    .join('');
}
