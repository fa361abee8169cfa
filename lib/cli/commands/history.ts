import type { Archive } from '../../archive/archive.ts';
import type { Period } from '../../archive/tag-index/tag-index.ts';
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
  readonly name: 'history';
  readonly archive: string;
  readonly reference: Reference;
  readonly json: boolean;
}

export const history = defineCommand({
  name: 'history',
  summary: 'list the digests that a tag had, and when',
  usage: ['REFERENCE ARCHIVE [--json]'],
  description: [
    'REFERENCE is a tag as ls prints it. A period begins when a sync first observed the digest, and ends when a sync first observed ' +
      'another one. Each digest of the list can still be read.',
  ],
  options: { json: { help: 'one JSON object per line (docs/json.md)' } },
  parse(args) {
    const [text, archive, ...more] = args.positionals;
    if (text === undefined || archive === undefined || more.length > 0)
      throw usage('history', 'name one tag as ls does, and the archive that has it');
    const reference = withDefaultTag(parseReference(text));
    if (reference.digest !== undefined) throw usage('history', `${show(text)} names a digest; name a tag instead`);
    const request = { name: 'history', archive, reference, json: args.has('json') } as const;
    return async (io) => {
      await using opened = await openArchive(archive, 'read', io);
      return await listHistory(request, opened.archive, io);
    };
  },
});

async function listHistory(request: HistoryRequest, archive: Archive, { stdout, signal }: Io): Promise<number> {
  const { reference, json } = request;
  const tag = reference.tag ?? '';
  const [repository = ''] = await repositoriesOf(
    archive,
    { ...request, repositories: [formatRepository(reference)] },
    signal,
  );
  const index = (await archive.tagIndex(repository, { signal }))?.index;
  const periods = index?.history(tag) ?? [];
  if (periods.length === 0) {
    const meant = closest(tag, index?.entries().flatMap((entry) => entry.tag ?? entry.hadTag ?? []) ?? []);
    const hint = meant === undefined ? `mirror-sync ls ${request.archive} lists all tags` : `did you mean ${meant}?`;
    throw invalid(`list history of ${repository}:${tag}`, `${request.archive} has never had the tag; ${hint}`);
  }
  if (json)
    for (const { digest = null, from, to } of periods)
      writeJson(stdout, {
        type: 'period',
        reference: `${repository}:${tag}`,
        digest,
        from: timeOf(from) ?? null,
        to: timeOf(to) ?? null,
      });
  else for (const line of table(periods, hasTerminal(stdout), stdout)) writeLine(stdout, line);
  return EXIT.ok;
}

function table(periods: readonly Period[], isShort: boolean, out: Io['stdout']): string[] {
  const lines = periods.map(({ digest, from, to }) => [
    digest === undefined ? 'removed by a repair' : isShort ? shortDigest(digest) : digest,
    timeOf(from) ?? 'unknown',
    timeOf(to) ?? 'now',
  ]);
  return columns(['DIGEST', 'FROM', 'TO'], lines, out);
}

function timeOf(ms: number | undefined): string | undefined {
  return ms === undefined ? undefined : new Date(ms).toISOString();
}
