import { expect, test } from 'vitest';
import { readRequest } from '../../../functions/request.ts';
import { recordOf } from '../../kit/records.ts';

const ARN = 'arn:aws:scheduler:eu-central-1:123456789012:schedule/default/mirror-sync-prod';
const TIME = '2026-01-31T00:00:00Z';
const NOW = Date.parse(TIME);

// EventBridge Scheduler and Lambda repeat a failed start, which must send the same messages.
test('a run has the same name for each attempt to start it', () => {
  const schedule = { schedule: { arn: ARN, time: TIME } };
  const run = '2026-01-31T00-00-00-000Z-mirror-sync-prod';
  expect(readRequest(schedule, 'request-1', NOW)).toEqual({ kind: 'schedule', run });
  expect(readRequest(schedule, 'request-2', NOW)).toEqual({ kind: 'schedule', run });
  const references = { references: ['alpine'] };
  const read = readRequest(references, '5f0c');
  expect(read).toEqual({ kind: 'references', run: 'request-5f0c', request: references });
  expect(readRequest(references, '5f0c')).toEqual(read);
});

test('a batch of a queue is passed on unchanged', () => {
  const batch = { Records: [recordOf('{')] };
  expect(readRequest(batch, 'r')).toEqual({ kind: 'batch', batch });
});

test.for([
  [null, 'it is not an object'],
  ['alpine', 'it is not an object'],
  [[], 'it is not an object'],
  [{ reference: ['alpine'] }, '"reference" is not known'],
  [{ schedule: { arn: ARN, time: TIME }, references: ['alpine'] }, 'schedule and references cannot be combined'],
  [{ schedule: null }, 'schedule'],
  [{ schedule: {} }, 'schedule.arn'],
  [{ schedule: { arn: ARN } }, 'schedule.time'],
  [{ schedule: { arn: 5, time: TIME } }, 'schedule.arn'],
  [{ schedule: { arn: 'arn:x/', time: TIME } }, 'schedule.arn: must be the ARN of a schedule'],
  ...['yesterday', '1', '2026-01-31', '2026-02-30T00:00:00Z', '2026-01-30T24:00:00Z', '+275760-09-13T00:00:00Z'].map(
    (time) => [{ schedule: { arn: ARN, time } }, 'schedule.time: must be a time, as 2026-01-31T00:00:00Z'] as const,
  ),
  // A run in the future would be the last one for good.
  [
    { schedule: { arn: ARN, time: '2026-02-01T00:00:01Z' } },
    'schedule.time: must not be more than a day in the future',
  ],
  [{ schedule: { arn: ARN, time: TIME, id: 'x' } }, 'schedule.id'],
  [{ Records: {} }, 'Records'],
  [{ Records: [{}] }, 'Records[0].messageId'],
  [{ Records: [{ ...recordOf('{'), attributes: null }] }, 'Records[0].attributes'],
] as const)('%j is refused with the place of the problem', ([event, message]) => {
  expect(() => readRequest(event, 'r', NOW)).toThrow(message);
  expect(() => readRequest(event, 'r', NOW)).toThrow(expect.objectContaining({ code: 'invalid', side: 'input' }));
});
