import { availableParallelism } from 'node:os';
import type { Archive } from '../archive/archive.ts';
import { repairArchive } from '../mirror/repair.ts';
import { verifyArchive } from '../mirror/verify.ts';
import type { VerifyCommand } from './command.ts';
import { bytes, plural, seconds } from './format.ts';
import { EXIT, type Io } from './io.ts';

/** Hashes everything that can be reached again. Resolves to 1 where something is wrong, also when it was taken out. */
export async function verify(command: VerifyCommand, archive: Archive, { stdout, signal }: Io): Promise<number> {
  const { json, repair } = command;
  const line = (value: object): unknown => stdout.write(`${JSON.stringify(value)}\n`);
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
      if (json) line({ type: 'problem', reference, digest, reason });
      else stdout.write(`${reference}: ${digest}: ${reason}\n`);
    },
  });
  const elapsed = seconds(performance.now() - started);
  const ok = problems.length === 0;
  const dropped = repair && !ok ? [...(await repairArchive(archive, problems, { signal }))] : [];
  if (json) {
    const repaired = repair ? { dropped } : {};
    line({ type: 'summary', ok, references, objects, bytes: count, problems: problems.length, ...repaired });
  } else {
    const result = ok ? 'everything is as it should be' : plural(problems.length, 'problem');
    const read = `${plural(references, 'reference')}, ${plural(objects, 'object')}, ${bytes(count)} read in ${elapsed}`;
    stdout.write(`${read}: ${result}\n`);
    for (const reference of dropped) stdout.write(`taken out: ${reference}; the next sync brings it anew\n`);
    if (!ok && !repair) stdout.write('with --repair, what is wrong is taken out, and the next sync brings it anew\n');
  }
  return ok ? EXIT.ok : EXIT.failed;
}
