import { availableParallelism } from 'node:os';
import type { Archive } from '../../archive/archive.ts';
import { type Removal, removalsOf, repairArchive } from '../../upkeep/repair.ts';
import { verifyArchive } from '../../upkeep/verify.ts';
import type { VerifyCommand } from '../command.ts';
import { bytes, plural, seconds } from '../../core/format.ts';
import { EXIT, type Io, writeJson, writeLine } from '../output/io.ts';
import { repositoriesOf } from '../../app/repositories.ts';
import { VerifyProgress } from '../output/verify-progress.ts';

/**
 * Reads and hashes everything that can be reached. Resolves to 1 if something is wrong, also if it was repaired; to 2 if a repair
 * would remove references and nobody confirmed that.
 */
export async function verify(command: VerifyCommand, archive: Archive, io: Io): Promise<number> {
  const { json, repair } = command;
  const { stdout, signal } = io;
  const line = (value: object): unknown => writeJson(stdout, value);
  const started = performance.now();
  const progress = new VerifyProgress(io);
  const verified = await verifyArchive(archive, {
    signal,
    concurrency: availableParallelism(),
    repositories: await repositoriesOf(archive, command, signal),
    onProgress: (state) => progress.show(state),
    onProblem({ reference, digest, reason }) {
      progress.clear();
      if (json) line({ type: 'problem', reference, digest: digest ?? null, reason });
      else writeLine(stdout, `${reference}: ${digest === undefined ? '' : `${digest}: `}${reason}`);
    },
  }).finally(() => progress.clear());
  const { references, objects, bytes: count, problems } = verified;
  const ok = problems.length === 0;
  if (!json) {
    const elapsed = seconds(performance.now() - started);
    const result = ok ? 'everything is as it should be' : plural(problems.length, 'problem');
    const read = `${plural(references, 'reference')}, ${plural(objects, 'object')}, ${bytes(count)} read in ${elapsed}`;
    writeLine(stdout, `${read}: ${result}`);
  }
  const removals = repair ? removalsOf(problems) : [];
  const answer = removals.length === 0 || command.yes ? 'yes' : await confirm(removals, command, io);
  const repaired =
    repair && !ok && answer === 'yes'
      ? await repairArchive(archive, problems, { signal, now: Date.now() })
      : { dropped: new Set<string>(), receipts: 0 };
  const { dropped, receipts } = repaired;
  if (json) {
    const more = repair ? { dropped: [...dropped], receipts } : {};
    line({ type: 'summary', ok, references, objects, bytes: count, problems: problems.length, ...more });
  } else {
    for (const removal of removals.filter(({ reference }) => dropped.has(reference)))
      writeLine(stdout, `removed: ${describe(removal)}`);
    if (receipts > 0) writeLine(stdout, `rewritten: ${plural(receipts, 'receipt')} of verified blobs`);
    if (!ok && !repair) writeLine(stdout, HINT);
  }
  if (answer === 'unasked') return EXIT.usage;
  return ok ? EXIT.ok : EXIT.failed;
}

const HINT =
  'with --repair, the receipts of verified blobs are rewritten, and corrupt blobs and the references to them are removed; ' +
  'the next sync restores their tags from upstream';

/** Lists what a repair would remove, and asks whether it may: some of it may not be had again. */
async function confirm(
  removals: readonly Removal[],
  { json }: VerifyCommand,
  { stdout, stderr, ask, signal }: Io,
): Promise<'yes' | 'no' | 'unasked'> {
  const count = plural(removals.length, 'reference');
  if (!json) writeLine(stdout, `--repair would remove ${count}:`);
  for (const removal of removals)
    if (json) writeJson(stdout, { type: 'removal', ...removal });
    else writeLine(stdout, `  ${describe(removal)}`);
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

function describe({ reference, restorable }: Removal): string {
  return restorable
    ? `${reference} (the next sync restores it, if upstream still has it)`
    : `${reference} (no tag: only a sync of this digest restores it)`;
}
