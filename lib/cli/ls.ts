import { Failure } from '../base/failure.ts';
import type { Archive } from '../archive/archive.ts';
import { scopesOf } from '../archive/tag-index.ts';
import { cachedReader } from '../mirror/cached-reader.ts';
import { checkClosure, type ClosureReader, receiptReader } from '../mirror/closure.ts';
import type { Digest } from '../oci/digest.ts';
import { printable } from '../oci/show.ts';
import type { Scope } from '../queue/messages.ts';
import type { ListCommand } from './command.ts';
import { bytes } from './format.ts';
import { EXIT, type Io, writeJson, writeLine } from './io.ts';
import { repositoriesOf } from './repositories.ts';

interface Row {
  readonly type: 'reference';
  readonly reference: string;
  readonly digest: string;
  readonly size: number | null;
  readonly observed: string | null;
  /** The tag that a digest without a tag had, */
  readonly hadTag?: string;
  /** and when that tag was seen to name another digest. */
  readonly replaced?: string;
}

/**
 * What an archive holds: tags first, and what is kept by digest alone. Resolves to 1 where a repository's tag index cannot
 * be read; the others are listed all the same.
 */
export async function ls(command: ListCommand, archive: Archive, { stdout, stderr, signal }: Io): Promise<number> {
  const { json } = command;
  let code: number = EXIT.ok;
  const rows: Row[] = [];
  const reader = cachedReader(receiptReader(archive, signal));
  for (const repository of await repositoriesOf(archive, command, signal)) {
    const index = await readable(archive.tagIndex(repository, { signal }), (failure) => {
      writeLine(stderr, `${repository}: ${failure.message}`);
      code = EXIT.failed;
    });
    for (const entry of index?.index.entries() ?? []) {
      const { tag, digest, observed, hadTag, replaced } = entry;
      rows.push({
        type: 'reference',
        reference: tag === undefined ? `${repository}@${digest}` : `${repository}:${tag}`,
        digest,
        size: await imageBytes(reader, digest, scopesOf(entry)[0]),
        observed: observed === 0 ? null : new Date(observed).toISOString(),
        ...(hadTag === undefined ? {} : { hadTag }),
        ...(replaced === undefined ? {} : { replaced: new Date(replaced).toISOString() }),
      });
    }
  }
  if (json) for (const row of rows) writeJson(stdout, row);
  else for (const line of table(rows)) writeLine(stdout, line);
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

function table(rows: readonly Row[]): string[] {
  const head = ['REFERENCE', 'DIGEST', 'SIZE', 'OBSERVED'];
  const lines = rows.map(({ reference, digest, size, observed, hadTag, replaced }) => [
    // Escaped before it is aligned: an escape is longer than what it stands for.
    printable(
      hadTag === undefined
        ? reference
        : `${reference} (was ${hadTag}${replaced === undefined ? '' : ` until ${replaced}`})`,
    ),
    digest,
    size === null ? 'incomplete' : bytes(size),
    observed ?? '',
  ]);
  const all = [head, ...lines];
  const widths = head.map((_, column) => Math.max(...all.map((line) => line[column]?.length ?? 0)));
  return all.map((line) =>
    line
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}
