import { countByStatus, type Summary } from '../../lib/app/outcomes.ts';

/** The summary of a run without images. */
export const NOTHING: Summary = {
  run: 'run',
  ...countByStatus([]),
  bytes: 0,
  elapsedMs: 0,
  images: [],
  warnings: [],
  referrers: 0,
};
