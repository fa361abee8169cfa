import { EventBridgeClient, PutEventsCommand } from '@aws-sdk/client-eventbridge';
import { mockClient } from 'aws-sdk-client-mock';
import { afterAll, beforeEach, describe, expect, test } from 'vitest';
import { eventsTo } from '../../../functions/event-bus.ts';
import { recordIn } from '../../../functions/record.ts';
import { Archive } from '../../../lib/archive/archive.ts';
import { ociLayout } from '../../../lib/archive/oci-layout.ts';
import type { ImageEvent } from '../../../lib/sync/events.ts';
import { readRun } from '../../../lib/sync/reports.ts';
import { MemoryStore } from '../../kit/memory-store.ts';
import { digestFor, ORDER } from '../queue/samples.ts';

const bridge = mockClient(EventBridgeClient);

const MIRRORED: ImageEvent = {
  type: 'image',
  status: 'mirrored',
  run: ORDER.run,
  source: ORDER.source,
  repository: ORDER.repository,
  reference: `${ORDER.source}:3`,
  tag: '3',
  digest: digestFor('image'),
};
const FAILED: ImageEvent = { ...MIRRORED, status: 'failed', code: 'internal', reason: 'it crashed' };

/** The events, and the final reports. */
async function told(...events: readonly (ImageEvent | 'again')[]) {
  const archive = new Archive(new MemoryStore(), ociLayout);
  const record = recordIn(archive, eventsTo('default'));
  for (const [at, event] of events.entries())
    if (event !== 'again') await record(event, { again: events[at + 1] === 'again' });
  const types = bridge.commandCalls(PutEventsCommand).map(({ args: [{ input }] }) => input.Entries?.[0]?.DetailType);
  return { types, reports: (await readRun(archive, ORDER.run)).map(({ status }) => status) };
}

beforeEach(() => {
  bridge.reset();
  bridge.on(PutEventsCommand).resolves({});
});

test('a failure does not replace the report of an image that is mirrored meanwhile', async () => {
  const store = new MemoryStore();
  const archive = new Archive(store, ociLayout);
  const get = store.get.bind(store);
  // The finalizer records the image between the read and the write of the dead letter's failure.
  store.get = async (...args) => {
    const found = await get(...args);
    store.get = get;
    await recordIn(archive, eventsTo('default'))(MIRRORED);
    return found;
  };
  const record = recordIn(archive, eventsTo('default'));
  await expect(record(FAILED)).rejects.toMatchObject({ code: 'precondition-failed' });
  await record(FAILED);
  expect(await readRun(archive, ORDER.run)).toMatchObject([{ status: 'mirrored' }]);
});

test.each(['held', 'unverified', 'drifted', 'rejected'] as const)(
  'the report of a mirrored image stays if a repeated message ends as %s',
  async (status) => {
    expect(await told(MIRRORED, { ...MIRRORED, status })).toEqual({ types: ['Image Mirrored'], reports: ['mirrored'] });
  },
);

test.each([
  ['held', 'Image Held'],
  ['unverified', 'Image Unverified'],
  ['drifted', 'Image Drifted'],
  ['rejected', 'Image Rejected'],
] as const)('the event of an image that is %s has the detail type %s', async (status, type) => {
  expect(await told({ ...MIRRORED, status })).toEqual({ types: [type], reports: [status] });
});

/** The sent events and written reports in order; `down` makes the event bus refuse from then on. */
async function steps(...all: readonly (ImageEvent | 'again' | 'up' | Refusal)[]) {
  const archive = new Archive(new MemoryStore(), ociLayout);
  const record = recordIn(archive, eventsTo('default'));
  const errors: string[] = [];
  for (const [at, step] of all.entries()) {
    if (step === 'again') continue;
    if (step === 'up') bridge.on(PutEventsCommand).resolves({});
    else if (step === 'rejects') bridge.on(PutEventsCommand).rejects(new Error('no such bus'));
    else if (step === 'refuses')
      bridge.on(PutEventsCommand).resolves({ FailedEntryCount: 1, Entries: [{ ErrorCode: 'E', ErrorMessage: 'no' }] });
    else
      await record(step, { again: all[at + 1] === 'again' }).catch((error: unknown) =>
        errors.push((error as Error).message),
      );
  }
  const sent = bridge.commandCalls(PutEventsCommand).map(({ args: [{ input }] }) => input.Entries?.[0]?.DetailType);
  const reports = (await readRun(archive, ORDER.run)).map(({ status, unsent = false }) => ({ status, unsent }));
  return { sent, errors, reports };
}

type Refusal = 'rejects' | 'refuses';

describe.each([
  ['rejects', 'send event to default: no such bus'],
  ['refuses', 'send event to default: E: no'],
] as const)('an event bus that %s', (refusal, error) => {
  test('does not prevent the report, and the message is delivered again', async () => {
    const { errors, reports } = await steps(refusal, MIRRORED);
    expect(errors).toEqual([error]);
    expect(reports).toEqual([{ status: 'mirrored', unsent: true }]);
  });

  test.each([MIRRORED, FAILED])(
    'gets the event of a status again, until it accepts the event ($status)',
    async (event) => {
      const type = event.status === 'failed' ? 'Image Failed' : 'Image Mirrored';
      const again = event.status === 'mirrored' ? (['again'] as const) : [];
      const { sent, errors, reports } = await steps(refusal, event, event, ...again, 'up', event, ...again);
      expect(errors).toEqual([error, error]);
      expect(sent).toEqual([type, type, type]);
      expect(reports).toEqual([{ status: event.status, unsent: false }]);
    },
  );

  test('gets the event of a mirrored image even if the message fails later', async () => {
    const { sent, reports } = await steps(refusal, MIRRORED, 'up', FAILED);
    expect(sent).toEqual(['Image Mirrored', 'Image Mirrored']);
    expect(reports).toEqual([{ status: 'mirrored', unsent: false }]);
  });
});

afterAll(() => {
  bridge.restore();
});

test('a failure is reported, and replaced when the image is mirrored after all', async () => {
  expect(await told(FAILED, MIRRORED)).toEqual({ types: ['Image Failed', 'Image Mirrored'], reports: ['mirrored'] });
});

// A slice that crashed on every delivery has only tags; a layer message also has the digest.
test.for([undefined, FAILED.digest])(
  'an image that the run has mirrored is not recorded as failed (digest %s)',
  async (digest) => {
    expect(await told(MIRRORED, { ...FAILED, digest })).toEqual({ types: ['Image Mirrored'], reports: ['mirrored'] });
  },
);

test('another digest under the same tag may still fail', async () => {
  const other = { ...FAILED, digest: digestFor('other') };
  expect(await told(MIRRORED, other)).toEqual({ types: ['Image Mirrored', 'Image Failed'], reports: ['failed'] });
});

test('an event names its deployment, so that several deployments can share a bus', async () => {
  process.env['POWERTOOLS_SERVICE_NAME'] = 'mirror-sync-test';
  try {
    await told(FAILED);
  } finally {
    delete process.env['POWERTOOLS_SERVICE_NAME'];
  }
  const [call] = bridge.commandCalls(PutEventsCommand);
  const { run, source, repository, reference, tag, digest, status, code, reason } = FAILED;
  expect(JSON.parse(call?.args[0].input.Entries?.[0]?.Detail ?? '')).toEqual({
    service: 'mirror-sync-test',
    run,
    source,
    repository,
    reference,
    tag,
    digest,
    status,
    code,
    reason,
  });
});

const MOVED: ImageEvent = {
  ...MIRRORED,
  previous: digestFor('before'),
  changes: { layers: { shared: 1, added: 2, removed: 3 }, platforms: { added: [], removed: [] }, settings: [] },
  notes: ['no diffIDs claimed'],
};

function lastDetail(): unknown {
  const call = bridge.commandCalls(PutEventsCommand).at(-1);
  return JSON.parse(call?.args[0].input.Entries?.[0]?.Detail ?? '');
}

test('an event has the digest that a tag had before, the difference from it, and the notes on the image', async () => {
  await told(MOVED);
  const { digest, previous, changes, notes } = MOVED;
  expect(lastDetail()).toMatchObject({ digest, previous, changes, notes });
});

test('an event that is sent again has the previous digest and the difference from it', async () => {
  const { sent } = await steps('rejects', MOVED, 'up', MIRRORED, 'again');
  expect(sent).toHaveLength(2);
  const { previous, changes } = MOVED;
  expect(lastDetail()).toMatchObject({ previous, changes });
});

test('a reported result is not reported again', async () => {
  expect(await told(MIRRORED, MIRRORED, 'again')).toMatchObject({ types: ['Image Mirrored'] });
});
