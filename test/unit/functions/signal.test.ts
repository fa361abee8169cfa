import type { Context } from 'aws-lambda';
import { expect, test, vi } from 'vitest';
import { signalOf } from '../../../functions/signal.ts';

test.each([
  [60_000, 58_500],
  [1_000, 0],
])('work with %i ms left is stopped after %i ms, so that 1.5 s remain for reports', (left, after) => {
  const timeout = vi.spyOn(AbortSignal, 'timeout');
  try {
    signalOf({ getRemainingTimeInMillis: () => left } as Context);
    expect(timeout.mock.calls).toEqual([[after]]);
  } finally {
    timeout.mockRestore();
  }
});
