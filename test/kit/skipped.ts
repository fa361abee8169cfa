import { test } from 'vitest';

/** If it is 1, as in CI (`.ci/run` installs all tools), a missing tool is a failure. */
const REQUIRED = process.env['MIRROR_SYNC_REQUIRE_REAL'] === '1';

/**
 * Replaces tests that need a missing server or tool. New contributors need only Node.js: the test is reported as skipped, and
 * its title gives the reason. In CI it fails.
 */
export function skippedFor(reason: string): void {
  test.runIf(REQUIRED)(`skipped: ${reason}`, () => {
    throw new Error(`${reason}; .ci/run installs what the tests need`);
  });
}
