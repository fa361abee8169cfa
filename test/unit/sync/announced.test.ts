/** Referrers that a push or a request announces. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { withDecisionIn, withPolicy } from '../../../lib/archive/tag-index/withheld.ts';
import { cosignTags, referrersTag } from '../../../lib/oci/referrer-tags.ts';
import { parsePlatform } from '../../../lib/oci/platform.ts';
import { NO_POLICY, type Policy } from '../../../lib/policy/policy.ts';
import type { Wanted } from '../../../lib/queue/messages.ts';
import { resolveMessage } from '../../../lib/queue/outgoing.ts';
import type { ResolverContext } from '../../../lib/sync/context.ts';
import { resolve } from '../../../lib/sync/resolver/resolve.ts';
import { makeArtifact, makeImage, makeIndex, makeLayer } from '../../kit/images.ts';
import { startRegistry, type TestRegistry } from '../../kit/registry.ts';
import { signatureManifest, signatureTag } from '../../kit/signatures.ts';
import { RELEASE, startSigstore } from '../../kit/sigstore.ts';
import { NEVER, orderFor, Rig } from './rig.ts';

const PATH = 'library/app';
const TYPE = 'application/x.thing';

const AMD64 = makeImage({ layers: [makeLayer({ seed: 1 })] });
const ARM64 = makeImage({ layers: [makeLayer({ seed: 2 })], platform: parsePlatform('linux/arm64') });
const INDEX = makeIndex([AMD64, ARM64]);
const SBOM = makeArtifact({ subject: INDEX, artifactType: TYPE, blobs: [Buffer.from('sbom')] });
const OF_CHILD = makeArtifact({ subject: ARM64, artifactType: TYPE, blobs: [Buffer.from('of a child')] });
const COSIGN = makeArtifact({ blobs: [Buffer.from('cosign')] });
const [SIG] = cosignTags(INDEX.digest).map(({ tag }) => tag) as [string];

let registry: TestRegistry;
beforeEach(async () => {
  registry = await startRegistry();
  registry.push(PATH, INDEX, 'v1');
});
afterEach(() => registry.close());

let runs = 0;

async function sync(rig: Rig, images: readonly Wanted[] = [{ tag: 'v1' }]): Promise<void> {
  const from = rig.outgoing.length;
  const order = { ...orderFor(registry), run: `run-${(runs += 1)}` };
  await rig.resolve(resolveMessage(order, { kind: 'images', images }).message);
  await rig.deliver(from);
}

/** Handles an announcement, as that of a webhook, and everything that it orders. */
async function announce(rig: Rig, announced: readonly Wanted[], context: Partial<ResolverContext> = {}): Promise<void> {
  const from = rig.outgoing.length;
  registry.forgetRequests();
  const order = { ...orderFor(registry), run: `webhook-${(runs += 1)}` };
  const { message } = resolveMessage(order, { kind: 'checks', announced });
  await resolve({ ...rig.context, ...context }, message, { receiveCount: 1, last: false, signal: NEVER });
  await rig.deliver(from);
}

async function indexOf(rig: Rig) {
  return (await rig.archive.tagIndex(`${registry.host}/${PATH}`))!.index;
}

async function referrersOf(rig: Rig, subject = INDEX.digest) {
  return (await indexOf(rig)).referrersOf(subject).map(({ digest }) => digest);
}

function applied(rig: Rig, policy: Partial<Policy>) {
  return rig.archive.updatePolicy(`${registry.host}/${PATH}`, (index) =>
    withPolicy(index, { ...NO_POLICY, ...policy }),
  );
}

describe('an announced referrer', () => {
  test('is mirrored at once, although no check is due, and the check is recorded', async () => {
    await using rig = new Rig();
    await sync(rig);
    registry.push(PATH, COSIGN, SIG);
    registry.push(PATH, SBOM);
    rig.now = () => 1_000_500;
    await announce(rig, [{ tag: SIG }, { digest: SBOM.digest }]);
    expect(await referrersOf(rig)).toEqual([SBOM.digest, COSIGN.digest].toSorted());
    expect((await indexOf(rig)).byTag('v1')).toMatchObject({
      checked: 1_000_500,
      awaited: [],
      observations: [1_000_000],
    });
    // The tags are listed again, although they were listed a moment ago; the image itself is not requested.
    expect(registry.count({ kind: 'tags' })).toBe(1);
    expect(registry.count({ kind: 'manifest', digest: INDEX.digest })).toBe(0);
  });

  test('is found by the tag schema of a registry without the API', async () => {
    await registry.close();
    registry = await startRegistry({ referrers: false });
    registry.push(PATH, INDEX, 'v1');
    await using rig = new Rig();
    await sync(rig);
    const tag = referrersTag(INDEX.digest);
    registry.push(PATH, makeIndex([SBOM]), tag);
    await announce(rig, [{ tag }]);
    expect(await referrersOf(rig)).toEqual([SBOM.digest]);
    expect((await indexOf(rig)).byTag(tag)).toBeUndefined();
  });

  test('may refer to a child of an image', async () => {
    await using rig = new Rig();
    await sync(rig);
    registry.push(PATH, OF_CHILD);
    await announce(rig, [{ digest: OF_CHILD.digest }]);
    expect(await referrersOf(rig, ARM64.digest)).toEqual([OF_CHILD.digest]);
  });

  test('of an image that the archive lacks is not mirrored', async () => {
    await using rig = new Rig();
    await sync(rig);
    const other = makeImage({ layers: [makeLayer({ seed: 9 })] });
    registry.push(PATH, other);
    const referrer = makeArtifact({ subject: other });
    registry.push(PATH, referrer);
    await announce(rig, [{ digest: referrer.digest }, { tag: signatureTag(other) }]);
    expect(registry.count({ kind: 'referrers' })).toBe(0);
    expect((await indexOf(rig)).byDigest(referrer.digest)).toBeUndefined();
  });

  test.each([
    ['refers to nothing', AMD64.digest],
    ['upstream lacks', SBOM.digest],
  ])('that %s is ignored', async (_, digest) => {
    await using rig = new Rig();
    await sync(rig);
    const before = rig.outgoing.length;
    await announce(rig, [{ digest }]);
    expect(rig.outgoing.length).toBe(before);
    expect(registry.count({ kind: 'referrers' })).toBe(0);
  });

  test('that cannot be read for now is looked for in the next delivery', async () => {
    await using rig = new Rig();
    await sync(rig);
    registry.push(PATH, SBOM);
    const rule = registry.misbehave({ match: { kind: 'manifest', digest: SBOM.digest }, do: { status: 503 } });
    await expect(announce(rig, [{ digest: SBOM.digest }])).rejects.toThrow('503');
    rule.stop();
    await announce(rig, [{ digest: SBOM.digest }]);
    expect(await referrersOf(rig)).toEqual([SBOM.digest]);
  });

  test.each<[string, Policy['referrers'], number]>([
    ['not mirrored under the policy none', 'none', 0],
    ['not mirrored if the policy names other types', ['application/x.other'], 0],
    ['mirrored if the policy names its type', [TYPE], 1],
  ])('is %s', async (_, referrers, count) => {
    await using rig = new Rig();
    await applied(rig, { referrers });
    await sync(rig);
    registry.push(PATH, SBOM);
    await announce(rig, [{ digest: SBOM.digest }]);
    expect(await referrersOf(rig)).toHaveLength(count);
  });

  test('is not mirrored if the tag of its image is not wanted any more', async () => {
    await using rig = new Rig();
    await sync(rig);
    registry.push(PATH, SBOM);
    const none = { page: () => [], end: () => [] };
    await announce(rig, [{ digest: SBOM.digest }], { chooseTags: () => none });
    expect(await referrersOf(rig)).toEqual([]);
  });

  test('of a held image is mirrored, and the image stays held', async () => {
    await using rig = new Rig();
    await applied(rig, { minimumAgeMs: 1e12 });
    await sync(rig);
    registry.push(PATH, SBOM);
    await announce(rig, [{ digest: SBOM.digest }]);
    const index = await indexOf(rig);
    expect(await referrersOf(rig)).toEqual([SBOM.digest]);
    expect(index.byTag('v1')).toBeUndefined();
    expect(index.control.held.get('v1')?.size).toBe(1);
  });

  test('of a rejected image is not mirrored', async () => {
    await using rig = new Rig();
    await sync(rig);
    const decision = { action: 'reject' as const, digest: INDEX.digest, by: 'lena', at: 1_000_100, reason: 'no' };
    await rig.archive.updatePolicy(`${registry.host}/${PATH}`, (index) => withDecisionIn(index, decision));
    registry.push(PATH, SBOM);
    await announce(rig, [{ digest: SBOM.digest }]);
    expect(await referrersOf(rig)).toEqual([]);
  });
});

describe('an image without the required signature', () => {
  test.each(['a webhook', 'a sync of the tag'])('is verified again at once if %s announces one', async (by) => {
    const sigstore = await startSigstore();
    const { trustedRoot } = sigstore;
    await using rig = new Rig();
    await applied(rig, { verify: 'require', signers: [RELEASE], referrers: 'none' });
    const context = { trustedRoot };
    const first = resolveMessage({ ...orderFor(registry), run: 'run-0' }, { kind: 'images', images: [{ tag: 'v1' }] });
    const options = { receiveCount: 1, last: false, signal: NEVER };
    rig.now = Date.now;
    await resolve({ ...rig.context, ...context }, first.message, options);
    await rig.deliver();
    expect((await indexOf(rig)).control.unverified).toMatchObject([{ tag: 'v1', digest: INDEX.digest }]);

    const tag = signatureTag(INDEX);
    registry.push(PATH, signatureManifest([await sigstore.signSimple(INDEX.digest, RELEASE)]), tag);
    if (by === 'a webhook') await announce(rig, [{ tag }], context);
    else {
      const from = rig.outgoing.length;
      const request = resolveMessage({ ...orderFor(registry), run: 'run-1' }, { kind: 'images', images: [{ tag }] });
      await resolve({ ...rig.context, ...context }, request.message, options);
      await rig.deliver(from);
    }
    const index = await indexOf(rig);
    expect(index.byTag('v1')).toMatchObject({ digest: INDEX.digest });
    expect(index.control.unverified).toEqual([]);
  });
});

describe('a sync of the tag of a referrer', () => {
  test('mirrors it and the other referrers of its subject, and costs one HEAD the second time', async () => {
    await using rig = new Rig();
    await sync(rig);
    registry.push(PATH, COSIGN, SIG);
    registry.push(PATH, SBOM);
    await sync(rig, [{ tag: SIG }]);
    expect(await referrersOf(rig)).toEqual([SBOM.digest, COSIGN.digest].toSorted());
    expect((await indexOf(rig)).byTag(SIG)).toMatchObject({ digest: COSIGN.digest, subject: INDEX.digest });
    registry.forgetRequests();
    await sync(rig, [{ tag: SIG }]);
    expect(registry.requests.map(({ method, kind }) => [method, kind])).toEqual([['HEAD', 'manifest']]);
  });

  test('that is one of many listed tags checks no subject', async () => {
    await using rig = new Rig();
    await sync(rig);
    registry.push(PATH, COSIGN, SIG);
    registry.push(PATH, SBOM);
    const from = rig.outgoing.length;
    await rig.resolve(resolveMessage(orderFor(registry), { kind: 'list' }).message);
    await rig.deliver(from);
    expect(await referrersOf(rig)).toEqual([COSIGN.digest]);
  });
});
