import { test } from 'vitest';

/** Where it is 1, as in CI (`.ci/run` installs all of it), what a machine lacks is a failure. */
const REQUIRED = process.env['MIRROR_SYNC_REQUIRE_REAL'] === '1';

/** Stands for tests of what this machine lacks (a real server, a tool), and says why they are not run. */
export function skippedFor(reason: string): void {
  if (REQUIRED)
    test('has what it needs', () => {
      throw new Error(`${reason}; .ci/run installs what the tests need`);
    });
  else {
    // A newcomer needs Node.js alone to pass the tests.
    test.skip(`skipped: ${reason}`, () => undefined); // reason: a server or tool that is not installed; the title names it
  }
}
