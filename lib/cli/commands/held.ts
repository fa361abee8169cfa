/** `ls --held`: the images that policies and people withhold. */
import type { Archive } from '../../archive/archive.ts';
import { withheldList, type WithheldImage } from '../../archive/tag-index/withheld.ts';
import { plural, shortDigest } from '../../core/format.ts';
import { printable } from '../../oci/show.ts';
import { columns, hasTerminal } from '../output/columns.ts';
import { EXIT, type Io, type Output, writeJson, writeLine } from '../output/io.ts';
import { readable } from './readable.ts';

/** Resolves to 1 if the tag index of a repository cannot be read; the others are listed. */
export async function listHeld(
  { repositories, json }: { readonly repositories: readonly string[]; readonly json: boolean },
  archive: Archive,
  { stdout, stderr, signal }: Io,
): Promise<number> {
  let code: number = EXIT.ok;
  const rows: Row[] = [];
  for (const repository of repositories) {
    const found = await readable(archive.tagIndex(repository, { signal }), (failure) => {
      writeLine(stderr, `${repository}: ${failure.message}`);
      code = EXIT.failed;
    });
    for (const image of found === undefined ? [] : withheldList(found.index)) {
      const { tag, digest } = image;
      rows.push({ reference: tag === undefined ? `${repository}@${digest}` : `${repository}:${tag}`, image });
    }
  }
  if (json) for (const row of rows) writeJson(stdout, jsonOf(row));
  else
    for (const line of [...tableOf(rows, stdout), `total: ${plural(rows.length, 'withheld image')}`])
      writeLine(stdout, line);
  return code;
}

interface Row {
  readonly reference: string;
  readonly image: WithheldImage;
}

function jsonOf({ reference, image: { digest, state, since, until, reason, by } }: Row): object {
  return {
    type: 'withheld',
    reference,
    digest,
    state,
    since: isoOf(since),
    ...(until === undefined ? {} : { until: isoOf(until) }),
    ...(reason === undefined ? {} : { reason }),
    ...(by === undefined ? {} : { by }),
  };
}

function tableOf(rows: readonly Row[], out: Output): readonly string[] {
  if (rows.length === 0) return [];
  const isShort = hasTerminal(out);
  const lines = rows.map(({ reference, image: { digest, state, since, until, reason = '', by } }) => [
    printable(reference),
    isShort ? shortDigest(digest) : digest,
    isoOf(since),
    until === undefined
      ? printable(`${state}${by === undefined ? '' : ` by ${by}`}: ${reason}`)
      : `held until ${isoOf(until)}`,
  ]);
  return columns(['REFERENCE', 'DIGEST', 'SINCE', 'STATE'], lines, out);
}

function isoOf(ms: number): string {
  return new Date(ms).toISOString();
}
