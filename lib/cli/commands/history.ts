import type { Archive } from '../../archive/archive.ts';
import { type Period, provenPlatforms, type TagIndex } from '../../archive/tag-index/tag-index.ts';
import type { Changes } from '../../changes/changes.ts';
import { compareImages } from '../../changes/read.ts';
import { changeLines } from '../../changes/text.ts';
import { openArchive } from '../../app/open-archive.ts';
import { repositoriesOf } from '../../app/repositories.ts';
import { closest } from '../../core/suggest.ts';
import { invalid } from '../../core/failure.ts';
import { shortDigest } from '../../core/format.ts';
import { formatRepository, parseReference, type Reference, withDefaultTag } from '../../oci/reference.ts';
import { show } from '../../oci/show.ts';
import { defineCommand, usage } from '../command.ts';
import { columns, hasTerminal } from '../output/columns.ts';
import { EXIT, type Io, writeJson, writeLine } from '../output/io.ts';

interface HistoryRequest {
  readonly archive: string;
  readonly reference: Reference;
  readonly json: boolean;
  /** Compares the image of each period with that of the period before. */
  readonly changes: boolean;
}

export const history = defineCommand({
  name: 'history',
  summary: 'list the digests that a tag had, and when',
  usage: ['REFERENCE ARCHIVE [--changes] [--json]'],
  description: [
    'REFERENCE is a tag as ls prints it. A period begins when a sync first observed the digest, and ends when a sync first observed ' +
      'another one. Each digest of the list can still be read.',
  ],
  options: {
    changes: {
      help:
        'show how each image differs from the one before: layers, platforms, user, entrypoint, command, labels, and the names of ' +
        'environment variables',
    },
    json: { help: 'one JSON object per line (docs/json.md)' },
  },
  parse(args) {
    const [text, archive, ...more] = args.positionals;
    if (text === undefined || archive === undefined || more.length > 0)
      throw usage('history', 'name one tag as ls does, and the archive that has it');
    const reference = withDefaultTag(parseReference(text));
    if (reference.digest !== undefined) throw usage('history', `${show(text)} names a digest; name a tag instead`);
    const request = { archive, reference, json: args.has('json'), changes: args.has('changes') };
    return async (io) => {
      await using opened = await openArchive(archive, 'read', io);
      return await listHistory(request, opened.archive, io);
    };
  },
});

async function listHistory(request: HistoryRequest, archive: Archive, { stdout, signal }: Io): Promise<number> {
  const { reference, json } = request;
  const tag = reference.tag ?? '';
  const repositories = [formatRepository(reference)];
  const named = { operation: 'history', archive: request.archive, repositories };
  const [repository = ''] = await repositoriesOf(archive, signal, named);
  const index = (await archive.tagIndex(repository, { signal }))?.index;
  const periods = index?.history(tag) ?? [];
  if (periods.length === 0) {
    const meant = closest(tag, index?.entries().flatMap((entry) => entry.tag ?? entry.hadTag ?? []) ?? []);
    const hint = meant === undefined ? `mirror-sync ls ${request.archive} lists all tags` : `did you mean ${meant}?`;
    throw invalid(`list history of ${repository}:${tag}`, `${request.archive} has never had the tag; ${hint}`);
  }
  const changes = request.changes ? await changesOf(archive, index, periods, signal) : [];
  if (json)
    for (const [at, { digest = null, isRejected: rejected, from, to }] of periods.entries())
      writeJson(stdout, {
        type: 'period',
        reference: `${repository}:${tag}`,
        digest,
        rejected,
        from: timeOf(from) ?? null,
        to: timeOf(to) ?? null,
        changes: changes[at],
      });
  else {
    const [head = '', ...lines] = table(periods, hasTerminal(stdout), stdout);
    writeLine(stdout, head);
    for (const [at, line] of lines.entries()) {
      writeLine(stdout, line);
      const change = changes[at];
      for (const each of change === undefined ? [] : changeLines(change)) writeLine(stdout, `  ${each}`);
    }
  }
  return EXIT.ok;
}

/** The difference of each period from the one before, one after the other: each comparison reads several objects. */
async function changesOf(
  archive: Archive,
  index: TagIndex | undefined,
  periods: readonly Period[],
  signal: AbortSignal,
): Promise<readonly (Changes | undefined)[]> {
  const found: (Changes | undefined)[] = [];
  for (const [at, { digest }] of periods.entries()) {
    const previous = periods[at - 1]?.digest;
    const entry = digest === undefined ? undefined : index?.byDigest(digest);
    found.push(
      digest === undefined || previous === undefined
        ? undefined
        : await compareImages(
            { previous, digest, platforms: (entry && provenPlatforms(entry)) ?? 'all' },
            (of, maxBytes) => archive.content(of, { maxBytes, signal }),
          ),
    );
  }
  return found;
}

function table(periods: readonly Period[], isShort: boolean, out: Io['stdout']): string[] {
  const lines = periods.map(({ digest, isRejected = false, from, to }) => [
    digest === undefined ? removalWords(isRejected) : isShort ? shortDigest(digest) : digest,
    timeOf(from) ?? 'unknown',
    timeOf(to) ?? 'now',
  ]);
  return columns(['DIGEST', 'FROM', 'TO'], lines, out);
}

function removalWords(isRejected: boolean): string {
  return isRejected ? 'rejected' : 'removed by a repair';
}

function timeOf(ms: number | undefined): string | undefined {
  return ms === undefined ? undefined : new Date(ms).toISOString();
}
