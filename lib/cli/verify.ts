import { availableParallelism } from 'node:os';
import type { Archive } from '../archive/archive.ts';
import { repairArchive } from '../mirror/repair.ts';
import { verifyArchive } from '../mirror/verify.ts';
import type { VerifyCommand } from './command.ts';
import { bytes, plural, seconds } from './format.ts';
import { EXIT, type Io, writeJson, writeLine } from './io.ts';

/** Hashes everything that can be reached again. Resolves to 1 where something is wrong, also when it was taken out. */
export async function verify(command: VerifyCommand, archive: Archive, { stdout, signal }: Io): Promise<number> {
  const { json, repair } = command;
  const line = (value: object): unknown => writeJson(stdout, value);
  const started = performance.now();
  const {
    references,
    objects,
    bytes: count,
    problems,
  } = await verifyArchive(archive, {
    signal,
    concurrency: availableParallelism(),
    onProblem({ reference, digest, reason }) {
      if (json) line({ type: 'problem', reference, digest: digest ?? null, reason });
      else writeLine(stdout, `${reference}: ${digest === undefined ? '' : `${digest}: `}${reason}`);
    },
  });
  const elapsed = seconds(performance.now() - started);
  const ok = problems.length === 0;
  const now = Date.now();
  const repaired = repair && !ok ? await repairArchive(archive, problems, { signal, now }) : undefined;
  const { dropped, receipts } = repaired ?? { dropped: new Set<string>(), receipts: 0 };
  if (json) {
    const more = repair ? { dropped: [...dropped], receipts } : {};
    line({ type: 'summary', ok, references, objects, bytes: count, problems: problems.length, ...more });
  } else {
    const result = ok ? 'everything is as it should be' : plural(problems.length, 'problem');
    const read = `${plural(references, 'reference')}, ${plural(objects, 'object')}, ${bytes(count)} read in ${elapsed}`;
    writeLine(stdout, `${read}: ${result}`);
    for (const reference of dropped) writeLine(stdout, `taken out: ${reference}; ${howItComesBack(reference)}`);
    if (receipts > 0) writeLine(stdout, `written anew from what was proven: ${plural(receipts, 'receipt')}`);
    if (!ok && !repair) writeLine(stdout, HINT);
  }
  return ok ? EXIT.ok : EXIT.failed;
}

const HINT =
  'with --repair, receipts are written anew for what was proven, and what is wrong is taken out: the next sync brings ' +
  'its tags anew';

/** No sync asks for a digest that no tag names any more, but one that is told to. */
function howItComesBack(reference: string): string {
  return reference.includes('@')
    ? 'it has no tag, so it comes back only where it is asked for'
    : 'the next sync brings it anew';
}
