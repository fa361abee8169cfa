import { Failure } from '../../core/failure.ts';
import type { Archive } from '../../archive/archive.ts';
import { scopesOf, type TagEntry } from '../../archive/tag-index/tag-index.ts';
import { cachedReader } from '../../sync/cached-reader.ts';
import { checkClosure, type ClosureReader, type ClosureState } from '../../sync/closure.ts';
import { receiptReader } from '../../sync/receipt-reader.ts';
import type { Digest } from '../../oci/digest.ts';
import { formatPlatform, type Platform } from '../../oci/platform.ts';
import { printable } from '../../oci/show.ts';
import type { Scope } from '../../queue/messages.ts';
import { openArchive } from '../../app/open-archive.ts';
import { formatRepository, parseRepository } from '../../oci/reference.ts';
import { parseAsOf } from '../../core/as-of.ts';
import { archiveOf, defineCommand, usage } from '../command.ts';
import { columns, hasTerminal } from '../output/columns.ts';
import { bytes, plural, shortDigest } from '../../core/format.ts';
import { EXIT, type Io, type Output, writeJson, writeLine } from '../output/io.ts';
import { repositoriesOf } from '../../app/repositories.ts';
import { listHeld } from './held.ts';
import { readable } from './readable.ts';
import { defined } from '../../core/defined.ts';
import { isVerdict } from '../../upkeep/inspect.ts';

interface Row {
  readonly type: 'reference';
  readonly reference: string;
  readonly digest: string;
  /** The bytes of the closure, each object counted once. */
  readonly size: number | null;
  /** The mirrored images of an index: all, or those of these platforms. */
  readonly platforms: 'all' | readonly string[];
  /** Whether non-distributable layers are skipped. */
  readonly foreignLayers?: 'skip';
  readonly observed: string | null;
  /** The manifest that a referrer refers to, and its type. */
  readonly subject?: string;
  readonly artifactType?: string;
  /** The former tag of a digest without a tag. */
  readonly hadTag?: string;
  /** The time at which that tag was observed to name another digest. */
  readonly replaced?: string;
}

interface ListRequest {
  readonly repositories: readonly string[];
  readonly json: boolean;
  /** Milliseconds since the epoch; the present by default. */
  readonly asOf: number | undefined;
}

export const ls = defineCommand({
  name: 'ls',
  summary: 'list what an archive holds',
  usage: ['ARCHIVE [REPOSITORY…] [--as-of TIME | --held] [--json]'],
  description: [
    'Lists tags first, then the digests that are kept without a tag: with the tag that they had, and when it was seen to name ' +
      'another digest. Referrers, such as signatures, are below the image that they refer to.',
  ],
  options: {
    'as-of': {
      value: 'TIME',
      help: 'list what upstream was observed to have at a time: 2026-01-31T12:00:00Z, or 2026-01-31 for the end of that day in UTC',
    },
    held: {
      help: 'list the images that clients cannot pull: held, with the end of the period; not verified; or rejected',
    },
    json: { help: 'one JSON object per line (docs/json.md)' },
  },
  parse(args) {
    const [archive, ...names] = archiveOf('ls', args);
    const repositories = names.map((text) => formatRepository(parseRepository(text)));
    const named = { operation: 'list', archive, repositories };
    const time = args.value('as-of');
    const asOf = time === undefined ? undefined : parseAsOf(time, '--as-of');
    const json = args.has('json');
    const isHeld = args.has('held');
    if (isHeld && time !== undefined) throw usage('ls', '--held lists the present; leave out --as-of');
    return async (io) => {
      await using opened = await openArchive(archive, 'read', io);
      const found = await repositoriesOf(opened.archive, io.signal, named);
      if (isHeld) return await listHeld({ repositories: found, json }, opened.archive, io);
      return await listArchive({ repositories: found, json, asOf }, opened.archive, io);
    };
  },
});

/** Resolves to 1 if the tag index of a repository cannot be read; the others are listed. */
async function listArchive(request: ListRequest, archive: Archive, { stdout, stderr, signal }: Io): Promise<number> {
  const { repositories, json, asOf } = request;
  let code: number = EXIT.ok;
  const rows: Placed[] = [];
  const objects = new Map<Digest, number>();
  const reader = cachedReader(receiptReader(archive, signal));
  for (const repository of repositories) {
    const found = await readable(archive.tagIndex(repository, { signal }), (failure) => {
      writeLine(stderr, `${repository}: ${failure.message}`);
      code = EXIT.failed;
    });
    const index = asOf === undefined ? found?.index : found?.index.asOf(asOf);
    const lines: Line[] = [];
    for (const entry of index?.entries() ?? []) {
      const line = await lineOf(repository, entry, reader);
      for (const [object, size] of line.objects) objects.set(object, size);
      lines.push(line);
    }
    for (const row of withReferrers(lines)) rows.push(row);
  }
  if (json) for (const { row } of rows) writeJson(stdout, row);
  else for (const line of [...table(rows, stdout), totalOf(objects)]) writeLine(stdout, line);
  return code;
}

interface Line {
  readonly row: Row;
  /** The manifests of its closure. */
  readonly manifests: Iterable<Digest>;
  readonly objects: ReadonlyMap<Digest, number>;
}

/** Deeper referrers are indented as much as these. */
const MAX_INDENT = 16;

interface Placed {
  readonly row: Row;
  readonly depth: number;
}

/** Puts each referrer below the first image that has its subject; those without such an image are last. Pure. */
function withReferrers(lines: readonly Line[]): readonly Placed[] {
  const bySubject = Map.groupBy(lines, ({ row }) => row.subject);
  const depths = new Map<Line, number>();
  // Depth first, without recursion: an index may have a chain of any length.
  const next = [...(bySubject.get(undefined) ?? []), ...lines].map((line) => ({ line, depth: 0 })).reverse();
  for (let place = next.pop(); place !== undefined; place = next.pop()) {
    const { line, depth } = place;
    if (depths.has(line)) continue;
    depths.set(line, depth);
    const below = [...line.manifests].flatMap((digest) => bySubject.get(digest) ?? []);
    for (const each of below.reverse()) next.push({ line: each, depth: depth + 1 });
  }
  return [...depths].map(([{ row }, depth]) => ({ row, depth }));
}

async function lineOf(repository: string, entry: TagEntry, reader: ClosureReader): Promise<Line> {
  const { tag, digest, observed, hadTag, replaced, subject, artifactType } = entry;
  const [scope] = scopesOf(entry);
  const state = await closureOf(reader, digest, scope);
  const row: Row = {
    type: 'reference',
    reference: tag === undefined ? `${repository}@${digest}` : `${repository}:${tag}`,
    digest,
    size: state?.bytes ?? null,
    platforms: platformsOf(scope, state?.absent ?? []),
    ...defined({ foreignLayers: scope.foreignLayers }),
    observed: observed === 0 ? null : new Date(observed).toISOString(),
    ...defined({ subject, artifactType, hadTag }),
    ...(replaced === undefined ? {} : { replaced: new Date(replaced).toISOString() }),
  };
  return { row, manifests: state?.manifests.keys() ?? [digest], objects: state?.objects ?? new Map() };
}

/** The closure of a reference; undefined if something is missing or corrupt, which `verify` reports. */
async function closureOf(reader: ClosureReader, digest: Digest, scope: Scope): Promise<Complete | undefined> {
  try {
    const state = await checkClosure(digest, scope, reader, { mayLack: () => true });
    return state.complete ? state : undefined;
  } catch (error) {
    if (error instanceof Failure && (isVerdict(error) || isDamage(error))) return undefined;
    throw error;
  }
}

/** Whether the bytes of an object are wrong, as opposed to a store that does not return them. */
function isDamage({ code }: Failure): boolean {
  return code === 'corrupt' || code === 'too-large';
}

type Complete = Extract<ClosureState, { readonly complete: true }>;

/** The requested platforms, without those that the image does not have. */
function platformsOf({ platforms }: Scope, absent: readonly Platform[]): Row['platforms'] {
  if (platforms === 'all') return 'all';
  const missing = new Set(absent.map(formatPlatform));
  return platforms.map(formatPlatform).filter((name) => !missing.has(name));
}

/** The size of the archive, in which shared objects count once. */
function totalOf(objects: ReadonlyMap<Digest, number>): string {
  let sum = 0;
  for (const size of objects.values()) sum += size;
  return `total: ${bytes(sum)} in ${plural(objects.size, 'object')}`;
}

function table(rows: readonly Placed[], out: Output): string[] {
  const head = ['REFERENCE', 'DIGEST', 'SIZE', 'PLATFORMS', 'OBSERVED'];
  const isShort = hasTerminal(out);
  const lines = rows.map(({ row, depth }) => {
    const { digest, size, platforms, foreignLayers, observed } = row;
    return [
      // Escaped before it is aligned: an escape is longer than its character.
      '  '.repeat(Math.min(depth, MAX_INDENT)) + printable(nameOf(row)),
      isShort ? shortDigest(digest) : digest,
      size === null ? 'incomplete' : bytes(size),
      (platforms === 'all' ? 'all' : platforms.join(',')) + (foreignLayers === undefined ? '' : ' (no foreign layers)'),
      observed ?? '',
    ];
  });
  return columns(head, lines, out);
}

/** The reference, with the type of a referrer and the former tag of a digest. */
function nameOf({ reference, subject, artifactType, hadTag, replaced }: Row): string {
  const remarks = [
    ...(subject === undefined ? [] : [artifactType ?? 'referrer']),
    ...(hadTag === undefined ? [] : [`was ${hadTag}${replaced === undefined ? '' : ` until ${replaced}`}`]),
  ];
  return remarks.length === 0 ? reference : `${reference} (${remarks.join(', ')})`;
}
