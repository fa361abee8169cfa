/** Policies in a whole sync, with an injected clock. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { Archive } from '../../../lib/archive/archive.ts';
import { heldFor } from '../../../lib/archive/tag-index/withheld.ts';
import { memberOf } from '../../../lib/archive/members.ts';
import { ociLayout } from '../../../lib/archive/oci-layout.ts';
import type { Digest } from '../../../lib/oci/digest.ts';
import { cosignTags, referrersTag } from '../../../lib/oci/referrer-tags.ts';
import { Registry } from '../../../lib/serve/registry.ts';
import { NO_POLICY, type Policy } from '../../../lib/policy/policy.ts';
import { Failure } from '../../../lib/core/failure.ts';
import type { FinalizeMessage } from '../../../lib/queue/messages.ts';
import { changeMessage } from '../../../lib/queue/outgoing.ts';
import { parseMessage, serialise } from '../../../lib/queue/parse.ts';
import { failedImages } from '../../../lib/sync/failures.ts';
import { finalize } from '../../../lib/sync/finalizer/finalize.ts';
import { makeArtifact, makeImage, makeIndex, makeLayer, type Pushable } from '../../kit/images.ts';
import { MemoryStore } from '../../kit/memory-store.ts';
import { mirror } from '../../kit/mirror.ts';
import { startRegistry, type TestRegistry } from '../../kit/registry.ts';

const DAY = 86_400_000;
const START = Date.UTC(2026, 0, 1);
const WEEK: Policy = { ...NO_POLICY, referrers: 'none', minimumAgeMs: 7 * DAY };

let registry: TestRegistry;
let store: MemoryStore;
let name: string;
let seed = 0;

beforeAll(async () => {
  registry = await startRegistry();
});
afterAll(() => registry.close());
beforeEach(() => {
  store = new MemoryStore();
  name = `team/app${(seed += 1)}`;
});

const push = (tag = '1'): Digest => registry.push(name, makeImage({ layers: [makeLayer({ seed: (seed += 1) })] }), tag);
const repository = (): string => `${registry.host}/${name}`;

/** One sync of a tag on a day, with its outcome and the requests to the registry. */
async function sync(day: number, policy?: Policy, reference = `${repository()}:1`) {
  const before = registry.requests.length;
  const { outcomes, archive } = await mirror({
    store,
    references: [reference],
    now: () => START + day * DAY,
    ...(policy === undefined ? {} : { policy }),
  });
  const index = (await archive.tagIndex(repository()))?.index;
  const requests = registry.requests.slice(before).map(({ method }) => method);
  return {
    outcome: outcomes[0],
    requests,
    index,
    bytes: (await store.get(ociLayout.tagIndex(repository()), { maxBytes: 1e9 }))?.bytes,
  };
}

describe('minimumAge', () => {
  test('holds a tag for its period at the cost of one HEAD and no write, and releases it with one HEAD', async () => {
    const digest = push();
    const first = await sync(0, WEEK);
    expect(first.outcome).toMatchObject({ status: 'held', digest, until: '2026-01-08T00:00:00.000Z' });
    expect(first.index?.entries()).toEqual([]);
    const held = await sync(6.9, WEEK);
    expect(held).toMatchObject({ outcome: { status: 'held' }, requests: ['HEAD'], bytes: first.bytes });
    const released = await sync(7, WEEK);
    expect(released).toMatchObject({ outcome: { status: 'mirrored' }, requests: ['HEAD'] });
    expect(released.index?.history('1')).toEqual([{ digest, from: START + 7 * DAY, to: undefined }]);
    expect((await sync(8, WEEK)).outcome?.status).toBe('unchanged');
  });

  test('that is over fetches again what a repair has taken away from the held image', async () => {
    push();
    await sync(0, WEEK);
    const [blob] = (await Array.fromAsync(store.list('.mirror/receipts/'))).map(({ key }) => key);
    const digest = `sha256:${/([0-9a-f]{64})/.exec(blob ?? '')?.[1] ?? ''}` as Digest;
    const archive = new Archive(store, ociLayout);
    const { etag = '' } = (await archive.findReceipt(digest)) ?? {};
    await archive.revokeReceipt(digest, etag, START + 6 * DAY);
    await store.delete(ociLayout.blob(digest));
    const released = await sync(7, WEEK);
    expect(released).toMatchObject({ outcome: { status: 'mirrored' }, requests: ['HEAD', 'GET'] });
  });

  test('of the recorded policy applies to a sync without a configuration', async () => {
    push();
    await sync(0, WEEK);
    push('2');
    expect((await sync(1, undefined, `${repository()}:2`)).outcome).toMatchObject({ status: 'held' });
  });

  test('keeps the visible digest of a tag that has moved, until the period of the new one ends', async () => {
    const digest = push();
    await sync(0, NO_POLICY);
    const moved = push();
    const held = await sync(1, WEEK);
    expect(held.outcome).toMatchObject({ status: 'held', digest: moved });
    expect(held.index?.byTag('1')?.digest).toBe(digest);
    const released = await sync(8, WEEK);
    expect(released.outcome).toMatchObject({ status: 'mirrored', digest: moved, previous: digest });
  });

  test('holds an image that is requested by its digest', async () => {
    const digest = push();
    expect((await sync(0, WEEK, `${repository()}@${digest}`)).outcome).toMatchObject({ status: 'held' });
    expect((await sync(7, WEEK, `${repository()}@${digest}`)).outcome).toMatchObject({ status: 'mirrored' });
  });

  test('that is loosened or removed releases at the next run', async () => {
    push();
    await sync(0, WEEK);
    expect((await sync(1, { ...WEEK, minimumAgeMs: DAY })).outcome?.status).toBe('mirrored');
    push();
    expect((await sync(2, WEEK)).outcome?.status).toBe('held');
    expect((await sync(3, NO_POLICY)).outcome?.status).toBe('mirrored');
  });

  test('with initial: accept exempts the images before the first completed run', async () => {
    const policy: Policy = { ...WEEK, initial: 'accept' };
    push();
    expect((await sync(0, policy)).outcome?.status).toBe('mirrored');
    const archive = new Archive(store, ociLayout);
    const record = (): Promise<void> => Promise.resolve();
    const order = { run: 'run-1', source: repository(), repository: repository(), platforms: 'all' as const };
    const { message } = changeMessage(order, { completed: START + DAY });
    const { signal } = new AbortController();
    await finalize({ archive, record }, [parseMessage(serialise(message)) as FinalizeMessage], { signal });
    push();
    expect((await sync(2, policy)).outcome?.status).toBe('held');
  });

  test('is recorded by the finalizer, before the images of the same batch and in the order of the messages', async () => {
    const archive = new Archive(store, ociLayout);
    const order = { run: 'run-1', source: repository(), repository: repository(), platforms: 'all' as const };
    const messages = [WEEK, NO_POLICY, WEEK].map((policy) => changeMessage(order, { policy }).message);
    const read = messages.map((message) => parseMessage(serialise(message)) as FinalizeMessage);
    const records: unknown[] = [];
    const record = (event: unknown): Promise<void> => Promise.resolve(void records.push(event));
    await finalize({ archive, record }, read, { signal: new AbortController().signal });
    expect((await archive.tagIndex(repository()))?.index.control.policy).toEqual(WEEK);
    expect(records).toEqual([]);
    const failure = new Failure({ operation: 'write', side: 'archive', code: 'denied', detail: 'no' });
    expect(failedImages(read[0]!, failure)).toMatchObject([
      { reference: repository(), status: 'failed', code: 'denied' },
    ]);
  });

  test('records the children of a held index only when it is released', async () => {
    const child = makeImage({ layers: [makeLayer({ seed: (seed += 1) })] });
    registry.push(name, child);
    registry.push(name, makeIndex([child]), '1');
    const archive = new Archive(store, ociLayout);
    const { index } = await sync(0, WEEK);
    expect(index === undefined ? undefined : heldFor(index, '1')).toBeDefined();
    const of = child.digest;
    expect(await memberOf(archive, repository(), of)).toBeUndefined();
    await sync(7, WEEK);
    expect(await memberOf(archive, repository(), of)).toBeDefined();
  });
});

describe('serve', () => {
  test('answers 403 with the end of the period for a held tag and a held digest, until the release', async () => {
    const digest = push();
    await sync(0, WEEK);
    const server = new Registry({ archive: new Archive(store, ociLayout), defaultHost: registry.host });
    const statusOf = async (reference: string): Promise<readonly [number, string]> => {
      const target = `/v2/${name}/manifests/${reference}`;
      const { response } = await server.serve(new Request(`http://localhost${target}`), target);
      return [response.status, await response.text()];
    };
    const denied = [403, expect.stringContaining('is held until 2026-01-08T00:00:00.000Z')];
    expect(await statusOf('1')).toEqual(denied);
    expect(await statusOf(digest)).toEqual(denied);
    await sync(7, WEEK);
    expect((await statusOf('1'))[0]).toBe(200);
  });
});

describe('moved', () => {
  test.each([
    ['keep', 'drifted'],
    ['fail', 'failed'],
  ] as const)(
    '%s fetches nothing, keeps the bytes of the tag index, and reports %s with both digests',
    async (moved, status) => {
      const policy: Policy = { ...NO_POLICY, referrers: 'none', moved };
      const current = push();
      const { bytes } = await sync(0, policy);
      const digest = push();
      const drifted = await sync(1, policy);
      expect(drifted.outcome).toMatchObject({ status, digest, current });
      expect(drifted.requests).toEqual(['HEAD']);
      expect(drifted.bytes).toEqual(bytes);
    },
  );
});

describe('the tags of referrers in a repository whose tags are listed', () => {
  test('follow upstream under a policy that keeps tags, and lists of referrers are not images', async () => {
    const image = makeImage({ layers: [makeLayer({ seed: (seed += 1) })] });
    registry.push(name, image, '1');
    const [{ tag: signature } = { tag: '' }] = cosignTags(image.digest);
    const list = referrersTag(image.digest);
    const referrer = (text: string): Pushable => makeArtifact({ subject: image, blobs: [Buffer.from(text)] });
    const policy: Policy = { ...NO_POLICY, moved: 'fail' };
    for (const text of ['first', 'second']) {
      const pushed = registry.push(name, makeArtifact({ blobs: [Buffer.from(text)] }), signature);
      registry.push(name, makeIndex([referrer(text)]), list);
      const { outcomes, archive } = await mirror({ store, references: [repository()], policy });
      expect(outcomes.map(({ status }) => status)).not.toContain('failed');
      const index = (await archive.tagIndex(repository()))?.index;
      expect(index?.byTag(signature)?.digest).toBe(pushed);
      expect(index?.byTag(list)).toBeUndefined();
    }
  });
});
