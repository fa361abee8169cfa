import { test } from 'vitest';

/**
 * Stands for tests whose real server this machine lacks, and says why. In CI none is lacking: `.ci/run` installs them, fails
 * where it cannot, and lists what was skipped all the same.
 */
export function skippedFor(reason: string): void {
  test.skip(`skipped: ${reason}`, () => undefined);
}
