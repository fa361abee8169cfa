import { availableParallelism } from 'node:os';
import type { Archive } from '../archive/archive.ts';
import { verifyArchive } from '../mirror/verify.ts';
import type { VerifyCommand } from './command.ts';
import { bytes, plural, seconds } from './format.ts';
import { EXIT, type Io } from './io.ts';

/** Hashes everything that can be reached again. Resolves to 1 where something is wrong. */
export async function verify({ json }: VerifyCommand, archive: Archive, { stdout, signal }: Io): Promise<number> {
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
      stdout.write(
        json
          ? `${JSON.stringify({ type: 'problem', reference, digest, reason })}\n`
          : `${reference}: ${digest}: ${reason}\n`,
      );
    },
  });
  const elapsedMs = performance.now() - started;
  const ok = problems.length === 0;
  if (json)
    stdout.write(
      `${JSON.stringify({ type: 'summary', ok, references, objects, bytes: count, problems: problems.length })}\n`,
    );
  else
    stdout.write(
      `${plural(references, 'reference')}, ${plural(objects, 'object')}, ${bytes(count)} read in ${seconds(elapsedMs)}: ` +
        `${ok ? 'everything is as it should be' : plural(problems.length, 'problem')}\n`,
    );
  return ok ? EXIT.ok : EXIT.failed;
}
