import { availableParallelism } from 'node:os';
import type { Archive } from '../../archive/archive.ts';
import { type Removal, removalsOf, repairArchive } from '../../upkeep/repair.ts';
import { checkAttestations } from '../../upkeep/attested.ts';
import { type Problem, verifyArchive } from '../../upkeep/verify.ts';
import { Failure, invalid } from '../../core/failure.ts';
import { inputFile } from '../../core/input-file.ts';
import { parsePublicKey, type TrustedKey } from '../../signatures/public-key.ts';
import { openArchive } from '../../app/open-archive.ts';
import { formatRepository, parseRepository } from '../../oci/reference.ts';
import { archiveOf, defineCommand, usage } from '../command.ts';
import { bytes, plural, seconds } from '../../core/format.ts';
import { EXIT, type Io, writeJson, writeLine } from '../output/io.ts';
import { repositoriesOf } from '../../app/repositories.ts';
import { VerifyProgress } from '../output/verify-progress.ts';

export interface VerifyRequest {
  readonly archive: string;
  /** Only these repositories; all by default. */
  readonly repositories: readonly string[];
  /** Removes corrupt blobs and the tags that use them; rewrites the receipts of verified blobs and times in the future. */
  readonly repair: boolean;
  /** Public keys in PEM; each tag must have an attestation by one of them. */
  readonly attestKeys?: readonly TrustedKey[];
  /** Repairs without confirmation. */
  readonly yes: boolean;
  readonly json: boolean;
}

export const verify = defineCommand({
  name: 'verify',
  summary: 'read and hash everything in an archive again',
  usage: ['ARCHIVE [REPOSITORY…] [--json]', 'ARCHIVE --repair [--yes] [--json]'],
  description: ['Ignores receipts. Progress goes to standard error.'],
  options: {
    repair: {
      help:
        'remove corrupt blobs and the references to them (the next sync restores their tags if upstream still has them), ' +
        'rewrite the receipts of verified blobs and wrong oci-layout files, and set times in the future to the present. The ' +
        'command lists what it would remove, and asks',
      elsewhere: ['fix'],
    },
    yes: { help: 'repair without asking; required without a terminal' },
    'attest-public-key': {
      value: 'FILE',
      isPath: true,
      isRepeatable: true,
      help: 'report each tag without an attestation by this public key in PEM (docs/trust.md); may be repeated',
    },
    json: { help: 'one JSON object per line; the last is the summary (docs/json.md)' },
  },
  parse(args) {
    const [archive, ...names] = archiveOf('verify', args);
    const [repair, yes] = [args.has('repair'), args.has('yes')];
    // Corrupt bytes may be shared with repositories that were not verified, whose references would stay.
    if (repair && names.length > 0)
      throw usage('verify', '--repair needs the whole archive; leave out the repositories');
    if (yes && !repair) throw usage('verify', '--yes confirms a repair; add --repair, or leave it out');
    const repositories = names.map((text) => formatRepository(parseRepository(text)));
    const request = { archive, repositories, json: args.has('json'), repair, yes };
    return async (io) => {
      const attestKeys = await Promise.all(args.values('attest-public-key').map((path) => readPublicKey(path, io)));
      await using opened = await openArchive(archive, 'read', io);
      return await verifyAndReport({ ...request, attestKeys }, opened.archive, io);
    };
  },
});

/**
 * Reads and hashes all content. Resolves to 1 if there are problems, even repaired ones; to 2 if a repair would remove
 * references without confirmation.
 */
// eslint-disable-next-line max-lines-per-function -- the steps of the command, in order
export async function verifyAndReport(request: VerifyRequest, archive: Archive, io: Io): Promise<number> {
  const { json, repair } = request;
  const { stdout, signal } = io;
  const line = (value: object): unknown => writeJson(stdout, value);
  const started = performance.now();
  const progress = new VerifyProgress(io);
  const repositories = await repositoriesOf(archive, signal, { operation: 'verify', ...request });
  const onProblem = (problem: Problem): void => {
    progress.clear();
    if (json) line(jsonOf(problem));
    else writeLine(stdout, textOf(problem));
  };
  const verified = await verifyArchive(archive, {
    signal,
    concurrency: availableParallelism(),
    repositories,
    isWhole: request.repositories.length === 0,
    onProgress: (state) => progress.show(state),
    onProblem,
  }).finally(() => progress.clear());
  const { attestKeys: keys = [] } = request;
  const unattested = await checkAttestations(archive, { keys, repositories, onProblem, signal });
  const { references, held, objects, bytes: count, problems, checked } = verified;
  const ok = problems.length + unattested === 0;
  if (!json) {
    const elapsed = seconds(performance.now() - started);
    const result = ok ? 'everything is as it should be' : plural(problems.length + unattested, 'problem');
    const read = `${plural(references, 'reference')}${held === 0 ? '' : ` (${held} held)`}, ${plural(objects, 'object')}, ${bytes(count)} read in ${elapsed}`;
    writeLine(stdout, `${read}: ${result}`);
  }
  const removals = repair ? removalsOf(problems) : [];
  const answer = removals.length === 0 || request.yes ? 'yes' : await confirm(removals, request, io);
  const repaired =
    repair && !ok && answer === 'yes'
      ? await repairArchive(archive, problems, { signal, now: Date.now(), checked })
      : { dropped: new Set<string>(), receipts: 0 };
  const { dropped, receipts } = repaired;
  const done = repair && answer === 'yes' ? problems.map((problem) => problem.repair) : [];
  const times = done.filter((each) => each.times).length;
  if (json) {
    const more = repair ? { dropped: [...dropped], receipts, times } : {};
    line({
      type: 'summary',
      ok,
      references,
      held,
      objects,
      bytes: count,
      problems: problems.length + unattested,
      ...more,
    });
  } else {
    for (const removal of removals.filter(({ reference }) => dropped.has(reference)))
      writeLine(stdout, `removed: ${describe(removal)}`);
    if (receipts > 0) writeLine(stdout, `rewritten: ${plural(receipts, 'receipt')} of verified blobs`);
    const markers = done.filter((each) => each.marker).length;
    if (markers > 0) writeLine(stdout, `rewritten: ${plural(markers, 'oci-layout file')}`);
    if (times > 0)
      writeLine(stdout, `set to the present: the times in the future of ${plural(times, 'tag index', 'tag indexes')}`);
    if (problems.length > 0 && !repair) writeLine(stdout, HINT);
  }
  if (answer === 'unasked') return EXIT.usage;
  return ok ? EXIT.ok : EXIT.failed;
}

function textOf({ reference, digest, reason, isHeld = false, isRejected = false }: Problem): string {
  const name = isHeld ? `${reference} (held)` : isRejected ? `${reference} (rejected)` : reference;
  return `${name}: ${digest === undefined ? '' : `${digest}: `}${reason}`;
}

function jsonOf({ reference, digest, reason, isHeld = false, isRejected = false }: Problem): object {
  const withheld = { ...(isHeld ? { held: true } : {}), ...(isRejected ? { rejected: true } : {}) };
  return { type: 'problem', reference, digest: digest ?? null, reason, ...withheld };
}

async function readPublicKey(path: string, { signal }: Io): Promise<TrustedKey> {
  const pem = await inputFile('read public key', path, { signal });
  try {
    return parsePublicKey(pem.toString('utf8'));
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    throw invalid(`read public key ${path}`, error.detail);
  }
}

const HINT =
  'with --repair, the receipts of verified blobs and wrong oci-layout files are rewritten, times in the future are set to the present, ' +
  'and corrupt blobs and the references to them are removed; ' +
  'the next sync restores their tags from upstream';

/** Lists the references that a repair would remove, and asks for confirmation, because upstream may no longer have them. */
async function confirm(
  removals: readonly Removal[],
  { json }: VerifyRequest,
  { stdout, stderr, ask, signal }: Io,
): Promise<'yes' | 'no' | 'unasked'> {
  const count = plural(removals.length, 'reference');
  if (!json) writeLine(stdout, `--repair would remove ${count}:`);
  for (const removal of removals)
    if (json) {
      const { reference, restorable, isHeld } = removal;
      writeJson(stdout, { type: 'removal', reference, restorable, ...(isHeld ? { held: true } : {}) });
    } else writeLine(stdout, `  ${describe(removal)}`);
  if (ask === undefined) {
    writeLine(
      stderr,
      `repair archive: nothing was changed (no terminal to confirm that ${count} may be removed); add --yes`,
    );
    return 'unasked';
  }
  const answer = await ask(`Remove ${count} and the corrupt blobs below? [y/N] `);
  signal.throwIfAborted();
  if (/^y(?:es)?$/i.test(answer.trim())) return 'yes';
  writeLine(stderr, 'repair archive: nothing was changed');
  return 'no';
}

function describe({ reference, restorable, isHeld }: Removal): string {
  if (restorable && isHeld) return `${reference} (held; the next sync restores it, and its minimum age continues)`;
  return restorable
    ? `${reference} (the next sync restores it, if upstream still has it)`
    : `${reference} (no tag: only a sync of this digest restores it)`;
}
