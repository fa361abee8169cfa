/** The last lines of `npm test`: the tools that this machine lacks, the tests that are skipped, and how to run them. */
import type { Reporter, TestModule } from 'vitest/node';

const SKIPPED = /(?:^| > )skipped: (.*)$/;

export default class MissingReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const text = missingText(modules.flatMap((module) => skippedIn(module)));
    if (text !== undefined) process.stdout.write(text);
  }
}

function skippedIn(module: TestModule): string[] {
  return [...module.children.allTests('skipped')].flatMap(({ fullName }) => SKIPPED.exec(fullName)?.[1] ?? []);
}

/** @param reasons of the skipped tests, such as `not installed: skopeo, umoci` */
export function missingText(reasons: readonly string[]): string | undefined {
  if (reasons.length === 0) return undefined;
  const what = [...new Set(reasons)].sort().map((reason) => `  ${reason}\n`);
  return (
    `\nSome tests were skipped (${reasons.length} groups), since this machine lacks what they need:\n${what.join('')}` +
    '.ci/run installs all of it and runs them; MIRROR_SYNC_REQUIRE_REAL=1 npm test fails instead of skipping.\n'
  );
}
