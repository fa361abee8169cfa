import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { cosignTags, referrersTag } from '../../../lib/oci/referrer-tags.ts';
import { MEDIA_TYPES } from '../../../lib/oci/mediatype.ts';
import { parsePlatform } from '../../../lib/oci/platform.ts';
import { withPolicy } from '../../../lib/archive/tag-index/withheld.ts';
import { NO_POLICY } from '../../../lib/policy/policy.ts';
import type { FinalizeMessage, Wanted } from '../../../lib/queue/messages.ts';
import { finalizeMessage, resolveMessage } from '../../../lib/queue/outgoing.ts';
import { Outcomes } from '../../../lib/app/outcomes.ts';
import { resolve } from '../../../lib/sync/resolver/resolve.ts';
import { verifyArchive } from '../../../lib/upkeep/verify.ts';
import { countCalls } from '../../kit/faults.ts';
import { makeArtifact, makeImage, makeIndex, makeLayer, type Pushable } from '../../kit/images.ts';
import { startRegistry, type TestRegistry } from '../../kit/registry.ts';
import { NEVER, orderFor, partStore, Rig } from './rig.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const PATH = 'library/app';

const AMD64 = makeImage({ layers: [makeLayer({ seed: 1 })] });
const ARM64 = makeImage({ layers: [makeLayer({ seed: 2 })], platform: parsePlatform('linux/arm64') });
const INDEX = makeIndex([AMD64, ARM64]);
const SIGNATURE = artifact(INDEX, 'signature');
const SBOMS = [artifact(AMD64, 'amd64 sbom'), artifact(ARM64, 'arm64 sbom')] as const;
const OF_SBOM = artifact(SBOMS[0], 'signature of an sbom');
const REFERRERS = [SIGNATURE, ...SBOMS, OF_SBOM];
const COSIGN = makeArtifact({ blobs: [Buffer.from('cosign')] });
const [SIG] = cosignTags(INDEX.digest).map(({ tag }) => tag) as [string];

function artifact(subject: Pushable, text: string): Pushable {
  return makeArtifact({ subject, artifactType: 'application/x.thing', blobs: [Buffer.from(text)] });
}

let registry: TestRegistry;
beforeEach(async () => {
  registry = await startRegistry();
});
afterEach(() => registry.close());

function wanting(run: string, images: readonly Wanted[] = [{ tag: 'v1' }]) {
  return resolveMessage({ ...orderFor(registry), run }, { kind: 'images', images }).message;
}

let runs = 0;

/** Everything of a run, from the resolver to the last finalize message. */
async function sync(rig: Rig, images?: readonly Wanted[]): Promise<void> {
  const from = rig.outgoing.length;
  await rig.resolve(wanting(`run-${(runs += 1)}`, images));
  await rig.deliver(from);
}

async function indexOf(rig: Rig) {
  return (await rig.archive.tagIndex(`${registry.host}/${PATH}`))!.index;
}

/** The requests upstream, as method and kind, with their number. */
function requests(): Record<string, number> {
  const kinds = registry.requests.map(({ method, kind }) => `${method} ${kind}`);
  return Object.fromEntries([...Map.groupBy(kinds, (kind) => kind)].map(([kind, all]) => [kind, all.length]));
}

function failures(rig: Rig): (readonly [string | undefined, string | undefined])[] {
  return rig.records.flatMap(({ status, digest, reason }) => (status === 'failed' ? [[digest, reason] as const] : []));
}

async function expectReferrers(rig: Rig): Promise<void> {
  const index = await indexOf(rig);
  const subjects = [INDEX.digest, AMD64.digest, ARM64.digest, SBOMS[0].digest];
  expect(subjects.map((subject) => index.referrersOf(subject).map(({ digest }) => digest))).toEqual(
    REFERRERS.map(({ digest }) => [digest]),
  );
  const { problems } = await verifyArchive(rig.archive, { signal: NEVER, concurrency: 1 });
  expect(problems).toEqual([]);
}

describe('the referrers of a new image', () => {
  test('are listed while the configs are fetched, so that the layers wait for no further request', async () => {
    registry.push(PATH, INDEX, 'v1');
    await using rig = new Rig();
    const held = registry.misbehave({ match: { kind: 'blob', method: 'GET' }, do: { stallAfter: 1 } });
    const synced = sync(rig);
    await vi.waitFor(() => expect(registry.count({ kind: 'referrers' })).toBe(3));
    held.stop();
    await synced;
    expect(registry.count({ kind: 'referrers' })).toBe(3);
  });

  test('are mirrored with it: of the index, of each child, and of a referrer', async () => {
    registry.push(PATH, INDEX, 'v1');
    for (const each of REFERRERS) registry.push(PATH, each);
    await using rig = new Rig();
    await sync(rig);
    await expectReferrers(rig);
    expect(failures(rig)).toEqual([]);
    expect((await indexOf(rig)).byDigest(SIGNATURE.digest)).toMatchObject({
      subject: INDEX.digest,
      artifactType: 'application/x.thing',
      tag: undefined,
      platforms: 'all',
    });
    // One list for each of the seven manifests, and one list of the tags for all.
    expect(requests()).toMatchObject({ 'GET referrers': 7, 'GET tags': 1, 'GET manifest': 7 });
    const events = rig.records.filter(({ referrer }) => referrer !== undefined);
    expect(events.find(({ digest }) => digest === SIGNATURE.digest)).toMatchObject({
      status: 'mirrored',
      tag: undefined,
      referrer: { subject: INDEX.digest, root: `${registry.host}/${PATH}:v1` },
    });
    expect(events).toHaveLength(4);
  });

  test('are found by the tag schema in a registry without the API', async () => {
    await registry.close();
    registry = await startRegistry({ referrers: false });
    registry.push(PATH, INDEX, 'v1');
    for (const [subject, referrer] of [INDEX, AMD64, ARM64, SBOMS[0]].map(
      (each, at) => [each, REFERRERS[at]!] as const,
    ))
      registry.push(PATH, makeIndex([referrer]), referrersTag(subject.digest));
    await using rig = new Rig();
    await sync(rig);
    await expectReferrers(rig);
    expect(requests()).toMatchObject({
      'GET referrers': expect.toSatisfy((count: number) => count <= 3),
      'GET tags': 1,
    });
  });

  test('are listed until the image has a thousand', async () => {
    registry.push(PATH, INDEX, 'v1');
    const { mediaType, size } = SIGNATURE.descriptor;
    const manifests = Array.from({ length: 1_000 }, (_, n) => ({
      mediaType,
      size,
      digest: `sha256:${String(n).padStart(64, '0')}`,
      artifactType: 'application/x.thing',
    }));
    const body = JSON.stringify({ schemaVersion: 2, mediaType: MEDIA_TYPES.ociIndex, manifests });
    const headers = { 'content-type': MEDIA_TYPES.ociIndex };
    registry.misbehave({ match: { kind: 'referrers' }, do: { status: 200, headers, body } });
    await using rig = new Rig();
    await rig.resolve(wanting('run-thousand'));
    expect(registry.count({ kind: 'referrers' })).toBe(3);
    expect(rig.sent('finalize')).toHaveLength(1_000);
    expect(rig.sent('layer')[0]?.image.notes).toEqual([
      'the image has 1000 referrers; the lists of further ones are not read',
    ]);
  });

  test('cost nothing in the next run, which sends one HEAD', async () => {
    registry.push(PATH, INDEX, 'v1');
    for (const each of REFERRERS) registry.push(PATH, each);
    registry.push(PATH, COSIGN, SIG);
    await using rig = new Rig();
    await sync(rig);
    expect((await indexOf(rig)).byTag('v1')).toMatchObject({ checked: 1_000_000, awaited: [] });
    registry.forgetRequests();
    await sync(rig);
    expect(requests()).toEqual({ 'HEAD manifest': 1 });
  });

  test('cost no second list of the tags in a run that has listed them', async () => {
    registry.push(PATH, INDEX, 'v1');
    registry.push(PATH, SIGNATURE);
    registry.push(PATH, COSIGN, SIG);
    await using rig = new Rig();
    await rig.resolve(resolveMessage(orderFor(registry), { kind: 'list' }).message);
    await rig.deliver();
    expect((await indexOf(rig)).referrersOf(INDEX.digest)).toHaveLength(2);
    expect(registry.count({ kind: 'tags' })).toBe(1);
  });

  test('are listed again by the next run if there are too many for the record', async () => {
    const many = Array.from({ length: 33 }, (_, at) => artifact(INDEX, `referrer ${at}`));
    registry.push(PATH, INDEX, 'v1');
    for (const each of many) registry.push(PATH, each);
    await using rig = new Rig();
    await sync(rig);
    expect((await indexOf(rig)).byTag('v1')).toMatchObject({ checked: undefined, awaited: [] });
    await sync(rig);
    expect((await indexOf(rig)).byTag('v1')).toMatchObject({ checked: 1_000_000, awaited: [] });
  });

  test('are found by the tags of cosign, which are written as tags', async () => {
    registry.push(PATH, INDEX, 'v1');
    registry.push(PATH, COSIGN, SIG);
    await using rig = new Rig();
    await sync(rig);
    const index = await indexOf(rig);
    expect(index.byTag(SIG)).toMatchObject({ digest: COSIGN.digest, subject: INDEX.digest });
    expect(index.referrersOf(INDEX.digest)).toHaveLength(1);
  });

  test('are kept by their digest when the tag moves', async () => {
    registry.push(PATH, INDEX, 'v1');
    for (const each of REFERRERS) registry.push(PATH, each);
    await using rig = new Rig();
    await sync(rig);
    registry.push(PATH, makeImage(), 'v1');
    rig.now = () => 2_000_000;
    await sync(rig);
    expect((await indexOf(rig)).byTag('v1')?.digest).not.toBe(INDEX.digest);
    await expectReferrers(rig);
  });

  test('of one platform are those of the mirrored children', async () => {
    registry.push(PATH, INDEX, 'v1');
    for (const each of REFERRERS) registry.push(PATH, each);
    await using rig = new Rig();
    const order = { ...orderFor(registry), platforms: [parsePlatform('linux/arm64')] };
    await rig.resolve(resolveMessage(order, { kind: 'images', images: [{ tag: 'v1' }] }).message);
    await rig.deliver();
    const index = await indexOf(rig);
    expect([INDEX, AMD64, ARM64].map(({ digest }) => index.referrersOf(digest).length)).toEqual([1, 0, 1]);
    expect(failures(rig)).toEqual([]);
  });

  test('are not required: an artifact whose subject is missing is mirrored', async () => {
    registry.push(PATH, SIGNATURE, 'v1');
    await using rig = new Rig();
    await sync(rig);
    expect(failures(rig)).toEqual([]);
    expect((await indexOf(rig)).byTag('v1')).toMatchObject({ digest: SIGNATURE.digest, subject: INDEX.digest });
  });
});

describe('a referrer that cannot be mirrored', () => {
  async function syncListing(rig: Rig, descriptors: readonly object[]): Promise<void> {
    registry.push(PATH, INDEX, 'v1');
    const body = { schemaVersion: 2, mediaType: MEDIA_TYPES.ociIndex, manifests: descriptors };
    const headers = { 'content-type': MEDIA_TYPES.ociIndex };
    registry.misbehave({ match: { kind: 'referrers', digest: INDEX.digest }, do: { status: 200, body, headers } });
    await sync(rig);
    const awaited = descriptors.map((each) => (each as Pushable['descriptor']).digest);
    expect((await indexOf(rig)).byTag('v1')).toMatchObject({ digest: INDEX.digest, checked: 1_000_000, awaited });
  }

  test('is tried by the next run again, and then by each check that is due', async () => {
    await using rig = new Rig();
    await syncListing(rig, [SIGNATURE.descriptor]);
    for (const [at, count] of [2, 2, 2].entries()) {
      rig.now = () => 1_000_001 + at;
      await sync(rig);
      expect(failures(rig)).toHaveLength(count);
    }
    expect((await indexOf(rig)).byTag('v1')).toMatchObject({ checked: 1_000_001, awaited: [] });
    rig.now = () => 1_000_000 + 10 * MINUTE;
    await sync(rig);
    expect(failures(rig)).toHaveLength(3);
  });

  test('fails alone if it refers to another manifest, and no layer of it is fetched', async () => {
    await using rig = new Rig();
    registry.push(PATH, SBOMS[0]);
    await syncListing(rig, [SBOMS[0].descriptor]);
    expect(failures(rig)).toEqual([[SBOMS[0].digest, expect.stringContaining(`it refers to ${AMD64.digest}`)]]);
    expect((await indexOf(rig)).referrersOf(INDEX.digest)).toEqual([]);
    // The SBOM is listed for the right image as well, and its own failure is that of this list.
    expect(registry.count({ kind: 'blob', digest: [...SBOMS[0].blobs.keys()].at(-1)! })).toBe(0);
  });

  test('fails alone if it refers to nothing', async () => {
    await using rig = new Rig();
    registry.push(PATH, COSIGN);
    await syncListing(rig, [COSIGN.descriptor]);
    expect(failures(rig)).toEqual([[COSIGN.digest, expect.stringContaining('it refers to nothing')]]);
  });

  test('fails alone if the registry lists it and lacks it', async () => {
    await using rig = new Rig();
    await syncListing(rig, [SIGNATURE.descriptor]);
    expect(failures(rig)).toEqual([[SIGNATURE.digest, expect.stringContaining('404')]]);
  });

  test('is refused by the finalizer if a message names the wrong subject', async () => {
    await using rig = new Rig();
    registry.push(PATH, SIGNATURE, 'v1');
    await sync(rig);
    const { digest, mediaType, size } = SIGNATURE.descriptor;
    const image = { digest, mediaType, size, observed: 1, subject: ARM64.digest, root: { tag: 'v1' } };
    await rig.finalize([finalizeMessage(orderFor(registry), image, 'resolver').message]);
    expect(failures(rig)).toEqual([[digest, expect.stringContaining(`as a referrer of ${ARM64.digest}`)]]);
  });

  test('fails the message for a temporary problem, and is recorded on the last delivery', async () => {
    registry.push(PATH, INDEX, 'v1');
    registry.push(PATH, SIGNATURE);
    await using rig = new Rig();
    registry.misbehave({ match: { kind: 'manifest', digest: SIGNATURE.digest }, do: { status: 503 } });
    await expect(rig.resolve(wanting('run-t'))).rejects.toThrow('503');
    await rig.resolve(wanting('run-t'), { last: true });
    await rig.deliver();
    expect(failures(rig)).toEqual([[SIGNATURE.digest, expect.stringContaining('503')]]);
    expect((await indexOf(rig)).byTag('v1')?.digest).toBe(INDEX.digest);
  });

  test('waits for a rate limit on the last delivery if the message can be queued again', async () => {
    registry.push(PATH, INDEX, 'v1');
    registry.push(PATH, SIGNATURE);
    const match = { digest: SIGNATURE.digest };
    registry.misbehave({ match, do: { status: 429, headers: { 'retry-after': '600' } } });
    await using rig = new Rig({ registry: { longestWaitMs: 1000 } });
    const last = rig.resolve(wanting('run-w'), { last: true, requeues: true });
    await expect(last).rejects.toMatchObject({ code: 'rate-limited', retryAfterMs: 600_000 });
    expect(rig.sent('finalize')).toEqual([]);
    await rig.resolve(wanting('run-w'), { last: true });
    expect(rig.sent('finalize')).toMatchObject([{ failure: { code: 'rate-limited' } }]);
  });
});

describe('the policy of a repository', () => {
  async function syncWith(rig: Rig, referrers: 'none' | readonly string[]): Promise<void> {
    registry.push(PATH, INDEX, 'v1');
    for (const each of REFERRERS) registry.push(PATH, each);
    registry.push(PATH, makeArtifact({ subject: INDEX, artifactType: 'application/x.other' }));
    const repository = `${registry.host}/${PATH}`;
    await rig.archive.updatePolicy(repository, (index) => withPolicy(index, { ...NO_POLICY, referrers }));
    registry.forgetRequests();
    await sync(rig);
  }

  test('mirrors referrers of some types only', async () => {
    await using rig = new Rig();
    await syncWith(rig, ['application/x.other']);
    const index = await indexOf(rig);
    expect(index.referrersOf(INDEX.digest).map(({ artifactType }) => artifactType)).toEqual(['application/x.other']);
    expect(index.referrersOf(AMD64.digest)).toEqual([]);
  });

  test('may exclude all referrers, and then none are listed', async () => {
    await using rig = new Rig();
    await syncWith(rig, 'none');
    expect(registry.count({ kind: 'referrers' }) + registry.count({ kind: 'tags' })).toBe(0);
    expect((await indexOf(rig)).byTag('v1')).toMatchObject({ digest: INDEX.digest, checked: undefined });
  });
});

describe('a sync that ends early', () => {
  test('loses no referrer: the next run finds what is missing, and the one after it costs one HEAD', async () => {
    registry.push(PATH, INDEX, 'v1');
    for (const each of REFERRERS) registry.push(PATH, each);
    await using rig = new Rig();
    await rig.resolve(wanting('run-e'));
    const isReferrer = (subject: unknown): boolean => subject !== undefined;
    for (const { message } of [...rig.outgoing])
      if (message.type === 'layer' && !isReferrer(message.image.subject)) await rig.copy(message);
    await rig.finalize(rig.sent('finalize').filter(({ image }) => 'observed' in image && !isReferrer(image.subject)));
    const awaited = REFERRERS.map(({ digest }) => digest).toSorted();
    expect((await indexOf(rig)).byTag('v1')).toMatchObject({ digest: INDEX.digest, awaited });
    await sync(rig);
    await expectReferrers(rig);
    expect((await indexOf(rig)).byTag('v1')).toMatchObject({ checked: 1_000_000, awaited: [] });
    registry.forgetRequests();
    await sync(rig);
    expect(requests()).toEqual({ 'HEAD manifest': 1 });
  });
});

describe('a list of referrers that cannot be read', () => {
  test('does not fail the image, which gets a warning and is checked by the next run', async () => {
    registry.push(PATH, INDEX, 'v1');
    registry.push(PATH, SIGNATURE);
    await using rig = new Rig();
    const rule = registry.misbehave({ match: { kind: 'referrers' }, do: { status: 503 } });
    await expect(rig.resolve(wanting('run-l'))).rejects.toThrow('503');
    await rig.resolve(wanting('run-l'), { last: true });
    await rig.deliver();
    expect(rig.records[0]).toMatchObject({
      status: 'mirrored',
      notes: [expect.stringMatching(/^the referrers cannot be listed: /)],
    });
    expect((await indexOf(rig)).byTag('v1')?.checked).toBeUndefined();
    rule.stop();
    await sync(rig);
    expect((await indexOf(rig)).referrersOf(INDEX.digest)).toHaveLength(1);
    await sync(rig);
    expect((await indexOf(rig)).byTag('v1')?.checked).toBe(1_000_000);
  });

  test('is a warning if it is invalid, and the check is done', async () => {
    registry.push(PATH, INDEX, 'v1');
    await using rig = new Rig();
    const headers = { 'content-type': MEDIA_TYPES.ociIndex };
    registry.misbehave({ match: { kind: 'referrers' }, do: { status: 200, body: '<html>', headers } });
    await sync(rig);
    expect(rig.records[0]?.notes).toEqual([expect.stringContaining('the list of referrers is invalid')]);
    expect((await indexOf(rig)).byTag('v1')?.checked).toBe(1_000_000);
  });
});

describe('a signature that is pushed after its image', () => {
  test('is mirrored by the first run after ten minutes, with one write for the check', async () => {
    registry.push(PATH, INDEX, 'v1');
    const { port, faults } = countCalls(partStore());
    const start = 1_000_000;
    await using rig = new Rig({ store: port });
    await sync(rig);
    registry.push(PATH, SIGNATURE);
    registry.push(PATH, COSIGN, SIG);
    rig.now = () => start + 10 * MINUTE - 1;
    registry.forgetRequests();
    await sync(rig);
    expect(requests()).toEqual({ 'HEAD manifest': 1 });
    expect((await indexOf(rig)).referrersOf(INDEX.digest)).toEqual([]);
    rig.now = () => start + 10 * MINUTE;
    // The list of tags is that of the first run: the clock of the registry's client did not advance.
    await sync(rig);
    expect((await indexOf(rig)).referrersOf(INDEX.digest).map(({ digest }) => digest)).toEqual([SIGNATURE.digest]);
    const checked = { checked: start + 10 * MINUTE, awaited: [], observed: start };
    expect((await indexOf(rig)).byTag('v1')).toMatchObject(checked);
    registry.forgetRequests();
    const before = faults.calls.length;
    await sync(rig);
    expect(requests()).toEqual({ 'HEAD manifest': 1 });
    expect(faults.calls.slice(before).filter((call) => call.startsWith('port.put'))).toEqual([]);
  });

  test('is checked for at each age in turn, and never again after thirty days', async () => {
    registry.push(PATH, INDEX, 'v1');
    await using rig = new Rig();
    await sync(rig);
    const checks: number[] = [];
    for (let day = 0; day < 90; day += 1) {
      rig.now = () => 1_000_000 + day * DAY + 1;
      registry.forgetRequests();
      await sync(rig);
      if (registry.count({ kind: 'referrers' }) > 0) checks.push(day);
    }
    expect(checks).toEqual([1, 3, 7, 30]);
  });

  test('is ordered again after the last check, if it could not be mirrored', async () => {
    registry.push(PATH, INDEX, 'v1');
    await using rig = new Rig();
    await sync(rig);
    registry.push(PATH, SIGNATURE);
    const rule = registry.misbehave({ match: { kind: 'blob' }, do: { status: 404 } });
    rig.now = () => 1_000_000 + 40 * DAY;
    await sync(rig);
    expect((await indexOf(rig)).referrersOf(INDEX.digest)).toEqual([]);
    rule.stop();
    rig.now = () => 1_000_000 + 41 * DAY;
    await sync(rig);
    expect((await indexOf(rig)).referrersOf(INDEX.digest).map(({ digest }) => digest)).toEqual([SIGNATURE.digest]);
    registry.forgetRequests();
    await sync(rig);
    expect(requests()).toEqual({ 'HEAD manifest': 1 });
  });

  test('is checked for when the image is requested alone', async () => {
    registry.push(PATH, INDEX, 'v1');
    await using rig = new Rig();
    await sync(rig);
    registry.push(PATH, SIGNATURE);
    rig.now = () => 1_000_000 + HOUR;
    await sync(rig);
    expect((await indexOf(rig)).referrersOf(INDEX.digest)).toHaveLength(1);
  });
});

describe('the checks of a repository whose tags are listed', () => {
  /** An archive that has these tags, observed long ago, and no record of a check. */
  async function archived(rig: Rig, tags: readonly string[]): Promise<void> {
    const images = tags.map((tag) => makeImage({ layers: [], overrides: { config: { author: tag } } }));
    for (const [at, tag] of tags.entries()) registry.push(PATH, images[at]!, tag);
    for (const { blobs, manifest, digest } of images) {
      await rig.archive.putContent(digest, manifest);
      for (const [blob, bytes] of blobs) await rig.archive.putContent(blob, bytes);
    }
    await rig.archive.updateTags(
      `${registry.host}/${PATH}`,
      tags.map((tag, at) => ({ tag, descriptor: images[at]!.descriptor, observed: 1000, platforms: 'all' })),
    );
    rig.now = () => 400 * DAY;
  }

  /** A run over all tags; returns the messages with checks. */
  async function syncAll(rig: Rig): Promise<readonly FinalizeMessage[]> {
    const from = rig.sent('finalize').length;
    const at = rig.outgoing.length;
    registry.forgetRequests();
    await rig.resolve(resolveMessage({ ...orderFor(registry), run: `run-${(runs += 1)}` }, { kind: 'list' }).message);
    await rig.deliver(at);
    return rig.sent('finalize').slice(from);
  }

  test('have a budget for each run and one message, and so one write', async () => {
    const tags = Array.from({ length: 250 }, (_, at) => `v${at}`);
    await using rig = new Rig();
    await archived(rig, tags);
    const checks: number[] = [];
    for (const messages of [1, 1, 0]) {
      const sent = await syncAll(rig);
      expect(sent).toHaveLength(messages);
      checks.push(registry.count({ kind: 'referrers' }));
      expect(sent.map((message) => message.checks?.length)).toEqual(messages === 0 ? [] : [checks.at(-1)]);
      expect(registry.count({ method: 'HEAD', kind: 'manifest' })).toBe(250);
    }
    expect(checks).toEqual([200, 50, 0]);
    expect(requests()).toEqual({ 'GET tags': 1, 'HEAD manifest': 250 });
    expect(rig.records).toEqual([]);
    expect((await indexOf(rig)).byTag('v7')).toMatchObject({
      checked: 400 * DAY,
      observed: 1000,
      observations: [1000],
    });
  });

  test('leave out the tags that are not wanted', async () => {
    await using rig = new Rig();
    await archived(rig, ['v1', 'v2', 'old']);
    const isWanted = (tag: string): boolean => tag.startsWith('v');
    const chooseTags = () => ({ page: (tags: readonly string[]) => tags.filter(isWanted), end: () => [] });
    const { message } = resolveMessage(orderFor(registry), { kind: 'checks' });
    await resolve({ ...rig.context, chooseTags }, message, { receiveCount: 1, last: false, signal: NEVER });
    expect(rig.sent('finalize').map(({ checks }) => checks?.map(({ tag }) => tag))).toEqual([['v1', 'v2']]);
  });

  test('of a slow registry end after a minute, and the next run makes those that are left', async () => {
    await using rig = new Rig();
    await archived(
      rig,
      Array.from({ length: 40 }, (_, at) => `v${at}`),
    );
    const { message } = resolveMessage(orderFor(registry), { kind: 'checks' });
    const lists = (): number => registry.count({ kind: 'referrers' });
    const slow = (): number => 400 * DAY + 40_000 * lists();
    await resolve({ ...rig.context, now: slow }, message, { receiveCount: 1, last: false, signal: NEVER });
    const first = lists();
    expect(first).toBeLessThan(40);
    await rig.deliver();
    const checked = async () => (await indexOf(rig)).entries().filter((entry) => entry.checked !== undefined).length;
    expect(await checked()).toBe(first);
    await rig.resolve(resolveMessage({ ...orderFor(registry), run: 'run-next' }, { kind: 'checks' }).message);
    await rig.deliver();
    expect([lists(), await checked()]).toEqual([40, 40]);
  });

  test('warn of a list that is invalid, and the image is unchanged', async () => {
    await using rig = new Rig();
    await archived(rig, ['v1']);
    const headers = { 'content-type': MEDIA_TYPES.ociIndex };
    registry.misbehave({ match: { kind: 'referrers' }, do: { status: 200, body: '<html>', headers } });
    await syncAll(rig);
    const outcomes = new Outcomes();
    for (const event of rig.events) outcomes.observe(event);
    const repository = `${registry.host}/${PATH}`;
    expect([...outcomes.all({ reason: 'no result' })]).toMatchObject([
      { reference: `${repository}:v1`, status: 'unchanged' },
    ]);
    expect(outcomes.warnings).toMatchObject([
      { repository, reason: expect.stringMatching(/ of .*:v1: the referrers cannot be listed: .*invalid/) },
    ]);
  });

  test('are harmless if their message is delivered twice', async () => {
    await using rig = new Rig();
    await archived(rig, ['v1']);
    const { message } = resolveMessage(orderFor(registry), { kind: 'checks' });
    await rig.resolve(message);
    await rig.resolve(message);
    await rig.deliver();
    const index = await indexOf(rig);
    expect(index.byTag('v1')?.checked).toBe(400 * DAY);
    registry.forgetRequests();
    await rig.resolve(message);
    await rig.deliver();
    expect(registry.requests).toEqual([]);
    expect(await indexOf(rig)).toBe(index);
  });

  test.each(['before', 'after'])(
    'concern the old digest of a tag that moves, if they run %s its move',
    async (order) => {
      await using rig = new Rig();
      await archived(rig, ['v1']);
      const [old] = (await indexOf(rig)).entries();
      const next = makeImage();
      registry.push(PATH, next, 'v1');
      const { message } = resolveMessage(orderFor(registry), { kind: 'checks' });
      if (order === 'after') await sync(rig);
      await rig.resolve(message);
      if (order === 'before') await sync(rig);
      await rig.deliver();
      const index = await indexOf(rig);
      // The new digest has the record of its own lists.
      expect(index.byTag('v1')).toMatchObject({ digest: next.digest, checked: 400 * DAY });
      expect(index.byDigest(old!.digest)).toMatchObject({ hadTag: 'v1', checked: undefined });
    },
  );

  test('record the images that were checked before a failure, and the next delivery checks the others', async () => {
    await using rig = new Rig();
    await archived(rig, ['v1', 'v2']);
    const { digest } = (await indexOf(rig)).byTag('v2')!;
    const rule = registry.misbehave({ match: { kind: 'referrers', digest }, do: { status: 503 } });
    const { message } = resolveMessage(orderFor(registry), { kind: 'checks' });
    await expect(rig.resolve(message)).rejects.toThrow('503');
    await rig.deliver();
    expect((await indexOf(rig)).entries().map(({ checked }) => checked)).toEqual([400 * DAY, undefined]);
    rule.stop();
    await rig.resolve(message, { receiveCount: 2 });
    await rig.deliver();
    expect((await indexOf(rig)).entries().map(({ checked }) => checked)).toEqual([400 * DAY, 400 * DAY]);
  });
});
