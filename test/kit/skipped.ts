import { test } from 'vitest';

/** If it is 1, as in CI (`.ci/run` installs all tools), a missing tool is a failure. */
const REQUIRED = process.env['MIRROR_SYNC_REQUIRE_REAL'] === '1';

/** Replaces tests that need a missing server or tool, and gives the reason. */
export function skippedFor(reason: string): void {
  if (REQUIRED)
    test('has what it needs', () => {
      throw new Error(`${reason}; .ci/run installs what the tests need`);
    });
  else {
    // New contributors need only Node.js to pass the tests. CI fails above.
    test.skip(`skipped: ${reason}`, () => undefined); // Skipped because this machine lacks the server or the tool that the title names.
  }
}
