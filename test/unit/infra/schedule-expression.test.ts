import { join } from 'node:path';
import { expect, test } from 'vitest';

const { isSchedule, longestGap } = (await import(
  join(import.meta.dirname, '../../../infra/schedule-expression.js')
)) as {
  isSchedule: (expression: string) => boolean;
  longestGap: (expression: string) => number | undefined;
};

test.for([
  'rate(1 minute)',
  'rate(90 minutes)',
  'rate(6 hours)',
  'rate(1 days)',
  'cron(0 3 * * ? *)',
  'cron(15 10 ? * 6L 2026-2030)',
  'cron(0/15 * ? * MON-FRI *)',
  'cron(0 18 L * ? *)',
  'cron(0 8,20 1W * ? *)',
  'cron(5 8 ? JAN,JUL TUE#2 *)',
  'at(2026-01-31T03:00:00)',
])('%s is a schedule', (expression) => {
  expect(isSchedule(expression)).toBe(true);
});

test.for([
  '',
  'hourly',
  'every hour',
  'rate(hour)',
  'rate(0 hours)',
  'rate(-1 hours)',
  'rate(1.5 hours)',
  'rate(1 week)',
  'rate(6 hours) ',
  'cron(0 3 * * *)',
  'cron(0 3 * * * *)',
  'cron(0 3 ? * ? *)',
  'cron(60 3 * * ? *)',
  'cron(0 24 * * ? *)',
  'cron(0 3 32 * ? *)',
  'cron(0 3 0 * ? *)',
  'cron(0 3 ? * 8 *)',
  'cron(0 3 ? * MOO *)',
  'cron(0 3 * 13 ? *)',
  'cron(0 3 * JAN-FOO ? *)',
  'cron(0 20-8 * * ? *)',
  'cron(0/0 3 * * ? *)',
  'cron(0 3 * * ? 2026/)',
  'at(2026-01-31)',
  'at(2026-13-31T03:00:00)',
  'at(2026-02-30T03:00:00)',
  'at(2026-01-31T24:00:00)',
  'at(2026-01-31T03:00:00Z)',
])('%o is not a schedule', (expression) => {
  expect(isSchedule(expression)).toBe(false);
});

test.for([
  ['rate(6 hours)', 21_600],
  ['rate(2 days)', 172_800],
  ['cron(0 3 * * ? *)', 86_400],
  ['cron(0/15 * ? * * *)', 86_400],
  ['cron(0 3 1 * ? *)', undefined],
  ['cron(0 3 ? * MON-FRI *)', undefined],
  ['cron(0 3 * * ? 2026)', undefined],
  ['at(2026-01-31T03:00:00)', undefined],
] as const)('%s fires at least every %o seconds', ([expression, seconds]) => {
  expect(longestGap(expression)).toBe(seconds);
});
