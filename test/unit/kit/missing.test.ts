import { expect, test } from 'vitest';
import { missingText } from '../../kit/missing.ts';

test('the last lines of a test run name each missing tool once, and how to run the tests', () => {
  const text = missingText(['not installed: skopeo', 'versitygw is not installed', 'not installed: skopeo']);
  expect(text).toBe(
    '\nSome tests were skipped (3 groups), since this machine lacks what they need:\n' +
      '  not installed: skopeo\n  versitygw is not installed\n' +
      '.ci/run installs all of it and runs them; MIRROR_SYNC_REQUIRE_REAL=1 npm test fails instead of skipping.\n',
  );
  expect(missingText([])).toBeUndefined();
});
