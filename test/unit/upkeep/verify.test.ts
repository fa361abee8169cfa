import { Readable } from 'node:stream';
import { describe, expect, test } from 'vitest';
import type { Receipt } from '../../../lib/archive/receipt.ts';
import { withDecisionIn } from '../../../lib/archive/tag-index/withheld.ts';
import { Failure } from '../../../lib/core/failure.ts';
import { type Problem, verifyArchive, type Verified } from '../../../lib/upkeep/verify.ts';
import { NO_POLICY } from '../../../lib/policy/policy.ts';
import { parsePlatform } from '../../../lib/oci/platform.ts';
import { resolveMessage } from '../../../lib/queue/outgoing.ts';
import { sha256 } from '../../kit/content.ts';
import { countCalls, failNth } from '../../kit/faults.ts';
import { makeArtifact, makeImage, makeIndex, makeLayer } from '../../kit/images.ts';
import { mirror } from '../../kit/mirror.ts';
import { startRegistry } from '../../kit/registry.ts';
import { makeSchema1 } from '../../kit/schema1.ts';
import { NEVER, orderFor, receiptOf, Rig } from '../sync/rig.ts';

const BASE = makeLayer({ seed: 1, size: 9000 });
const TOP = makeLayer({ seed: 2, compression: 'zstd' });
const IMAGE = makeImage({ layers: [BASE, TOP] });
const CONFIG = sha256(IMAGE.config);

/** A sound archive: an index, its image with a tag of its own, a schema1 image and an artifact. */
async function archived(): Promise<Rig & { readonly name: string }> {
  await using registry = await startRegistry();
  registry.push('library/app', makeIndex([IMAGE]), 'multi');
  registry.push('library/app', IMAGE, 'v1');
  registry.push('library/app', makeSchema1({ layers: [BASE] }), 'old');
  registry.push('library/app', makeArtifact({ subject: IMAGE }), 'thing');
  const rig = new Rig();
  const name = `${registry.host}/library/app`;
  await mirror({ store: rig.store, references: [name] });
  return Object.assign(rig, { name });
}

function verify(rig: Rig, concurrency = 2): Promise<Verified> {
  return verifyArchive(rig.archive, { signal: NEVER, concurrency });
}

async function flip(rig: Rig, key: string): Promise<void> {
  const bytes = Buffer.from((await rig.store.get(key, { maxBytes: 1e9 }))!.bytes);
  bytes[bytes.length >> 1]! ^= 1;
  await rig.store.put(key, bytes);
}

test('a sound archive has no problems, and every object is read once', async () => {
  await using rig = await archived();
  const { port, faults } = countCalls(rig.store);
  await using counting = new Rig({ store: port });
  const verified = await verify(counting);
  // The artifact has a tag, and is an entry of its own as the referrer of its subject.
  expect(verified).toMatchObject({ references: 5, problems: [] });
  // An index, an image, a schema1 manifest, an artifact, a config; two layers, the artifact's blob and its empty config.
  expect(verified.objects).toBe(9);
  const reads = faults.calls.filter(
    (call) => call.includes(' blobs/') && call.includes('.read') && !call.includes('next'),
  );
  expect(reads).toHaveLength(new Set(reads).size);
  expect(verified.bytes).toBeGreaterThan(BASE.size + TOP.size);
});

test('a held image is proven like a visible one, and reported as held', async () => {
  await using registry = await startRegistry();
  registry.push('app', IMAGE, 'v1');
  await using rig = new Rig();
  const references = [`${registry.host}/app:v1`, `${registry.host}/app@${IMAGE.digest}`];
  await mirror({ store: rig.store, references, policy: { ...NO_POLICY, minimumAgeMs: 86_400_000 } });
  const sound = await verify(rig);
  expect(sound).toMatchObject({ references: 2, held: 2, problems: [] });
  expect(sound.bytes).toBeGreaterThan(BASE.size + TOP.size);
  await flip(rig, rig.archive.layout.blob(BASE.digest));
  const problem = { root: IMAGE.digest, digest: BASE.digest, isHeld: true, repair: { drop: true } };
  expect((await verify(rig)).problems).toMatchObject([
    { ...problem, reference: `${registry.host}/app@${IMAGE.digest}` },
    { ...problem, reference: `${registry.host}/app:v1@${IMAGE.digest}`, tag: 'v1' },
  ]);
});

test('an object that several images of a reference share is one problem of the reference', async () => {
  await using registry = await startRegistry();
  const arm = makeImage({ layers: [BASE], platform: { os: 'linux', architecture: 'arm64' } });
  registry.push('app', makeIndex([IMAGE, arm]), 'v1');
  registry.push('app', IMAGE, 'v2');
  await using rig = new Rig();
  await mirror({ store: rig.store, references: [`${registry.host}/app`] });
  const reported: Problem[] = [];
  const problemsOf = async (): Promise<readonly unknown[]> => {
    const onProblem = (problem: Problem): unknown => reported.push(problem);
    const { problems } = await verifyArchive(rig.archive, { signal: NEVER, concurrency: 2, onProblem });
    expect(reported.splice(0)).toEqual(problems);
    return problems.map(({ reference, digest }) => [reference, digest]);
  };
  const expected = ['v1', 'v2'].map((tag) => [`${registry.host}/app:${tag}`, BASE.digest]);
  await rig.store.delete(rig.archive.layout.receipt(BASE.digest));
  expect(await problemsOf()).toEqual(expected);
  await flip(rig, rig.archive.layout.blob(BASE.digest));
  expect(await problemsOf()).toEqual(expected);
});

test('a rejected digest that is not a whole image is not a problem', async () => {
  await using registry = await startRegistry();
  registry.push('app', makeIndex([IMAGE, makeImage({ platform: { os: 'linux', architecture: 'arm64' } })]), 'v1');
  await using rig = new Rig();
  const platforms = [parsePlatform('linux/amd64')];
  const { archive } = await mirror({ store: rig.store, references: [`${registry.host}/app:v1`], platforms });
  const [index] = (await archive.tagIndex(`${registry.host}/app`))!.index.entries();
  for (const digest of [index!.digest, sha256(Buffer.from('none')), BASE.digest, CONFIG])
    await archive.updatePolicy(`${registry.host}/app`, (before) =>
      withDecisionIn(before, { action: 'reject', digest, by: 'ann', at: Date.now(), reason: 'a reason' }),
    );
  expect(await verify(rig)).toMatchObject({ references: 0, problems: [] });
});

test('an empty archive has no problems', async () => {
  await using rig = new Rig();
  expect(await verify(rig)).toEqual({ references: 0, held: 0, objects: 0, bytes: 0, problems: [], checked: new Set() });
});

describe('verify', () => {
  test.each<[string, string, (rig: Rig) => Promise<unknown>, Partial<Problem>]>([
    [
      'a blob that is missing',
      'v1',
      (rig) => rig.store.delete(rig.archive.layout.blob(TOP.digest)),
      { digest: TOP.digest, reason: 'it is not in the archive' },
    ],
    [
      'a flipped byte in a blob',
      'v1',
      (rig) => flip(rig, rig.archive.layout.blob(BASE.digest)),
      { digest: BASE.digest, reason: expect.stringContaining('hash to') },
    ],
    [
      'a blob that is cut',
      'v1',
      (rig) => rig.store.put(rig.archive.layout.blob(BASE.digest), BASE.blob.subarray(0, -1)),
      { digest: BASE.digest },
    ],
    [
      'a flipped byte in a manifest',
      'v1',
      (rig) => flip(rig, rig.archive.layout.blob(IMAGE.digest)),
      { digest: IMAGE.digest, reason: expect.stringContaining('hash to') },
    ],
    [
      'a manifest that is missing',
      'v1',
      (rig) => rig.store.delete(rig.archive.layout.blob(IMAGE.digest)),
      { digest: IMAGE.digest, reason: 'it is not in the archive' },
    ],
    [
      'a config that is missing',
      'v1',
      (rig) => rig.store.delete(rig.archive.layout.blob(CONFIG)),
      { digest: CONFIG, reason: 'it is not in the archive' },
    ],
    [
      'a flipped byte in a config',
      'v1',
      (rig) => flip(rig, rig.archive.layout.blob(CONFIG)),
      { digest: CONFIG, reason: expect.stringContaining('hash to') },
    ],
    [
      'a receipt that is missing',
      'v1',
      (rig) => rig.store.delete(rig.archive.layout.receipt(BASE.digest)),
      { digest: BASE.digest, reason: 'the blob has no receipt' },
    ],
    [
      'a receipt that lies about the size',
      'v1',
      (rig) => rig.archive.putReceipt(receipt({ size: BASE.size + 1 })),
      { digest: BASE.digest, reason: expect.stringContaining('bytes as in its receipt') },
    ],
    [
      'a receipt that lies about what the blob unpacks to',
      'v1',
      (rig) => rig.archive.putReceipt(receipt({ diffIds: { sha256: TOP.diffId } })),
      { digest: BASE.digest, reason: expect.stringContaining('expected the unpacked digest') },
    ],
  ])('finds %s', async (_, tag, spoil, problem) => {
    await using rig = await archived();
    await spoil(rig);
    const told: Problem[] = [];
    const verified = await verifyArchive(rig.archive, {
      signal: NEVER,
      concurrency: 2,
      onProblem: (one) => void told.push(one),
    });
    const of = verified.problems.filter(({ reference }) => reference === `${rig.name}:${tag}`);
    expect(of).toMatchObject([problem]);
    expect(told).toEqual(verified.problems);
    // The index that the image is in has it as well.
    expect(verified.problems.some(({ reference }) => reference === `${rig.name}:multi`)).toBe(true);
    // Every reference that does not use it is sound.
    expect(verified.problems.some(({ reference }) => reference === `${rig.name}:thing`)).toBe(false);
  });

  test('finds an image whose layers do not match its config', async () => {
    await using rig = await archived();
    const wrong = makeImage({ layers: [BASE, TOP], overrides: { diffIds: [TOP.diffId, BASE.diffId] } });
    await rig.archive.putContent(wrong.digest, wrong.manifest);
    await rig.archive.putContent(sha256(wrong.config), wrong.config);
    await rig.archive.updateTags(rig.name, [
      { tag: 'wrong', descriptor: wrong.descriptor, observed: 1, platforms: 'all' },
    ]);
    expect((await verify(rig)).problems).toMatchObject([
      { reference: `${rig.name}:wrong`, digest: wrong.digest, reason: expect.stringContaining('unpacks to') },
    ]);
  });

  test('finds an unreadable tag index, and still verifies the other repositories', async () => {
    await using rig = await archived();
    const whole = await verify(rig);
    const other = `${rig.name.split('/')[0]}/other/app`;
    await rig.archive.mark(other, {});
    await rig.store.put(rig.archive.layout.tagIndex(other), Buffer.from('{'));
    const { problems, ...counts } = await verify(rig);
    expect({ ...counts, problems: [] }).toEqual(whole);
    expect(problems).toEqual([
      { repository: other, reference: other, reason: expect.stringContaining('is not JSON'), repair: {} },
    ]);
  });

  test('finds a tag index in a folder that is not named after a repository', async () => {
    await using rig = await archived();
    const key = 'repositories/evil\u001B[2J.io/a/index.json';
    await rig.store.put(key, Buffer.from('{"schemaVersion":2,"manifests":[]}'));
    expect((await verify(rig)).problems).toEqual([
      { repository: key, reference: key, reason: expect.stringContaining('not named after a repository'), repair: {} },
    ]);
  });
});

test('an index with only the chosen platforms is sound', async () => {
  await using registry = await startRegistry();
  const arm = makeImage({ layers: [makeLayer({ seed: 9 })], platform: parsePlatform('linux/arm64') });
  registry.push('library/app', makeIndex([IMAGE, arm]), 'v1');
  await using rig = new Rig();
  const platforms = [parsePlatform('linux/amd64')];
  await mirror({ store: rig.store, references: [`${registry.host}/library/app:v1`], platforms });
  expect(await rig.blob(arm.digest)).toBeUndefined();
  expect(await verify(rig)).toMatchObject({ references: 1, problems: [] });
});

// The old digest of a moved tag can still be pulled.
test('content without a tag is verified as well', async () => {
  await using registry = await startRegistry();
  await using rig = new Rig();
  for (const [at, image] of [IMAGE, makeImage({ layers: [makeLayer({ seed: 12 })] })].entries()) {
    registry.push('library/app', image, 'v1');
    rig.now = () => 1_000_000 + at;
    const order = { ...orderFor(registry), run: `run-${at}` };
    const from = rig.outgoing.length;
    await rig.resolve(resolveMessage(order, { kind: 'images', images: [{ tag: 'v1' }] }).message);
    await rig.deliver(from);
  }
  await rig.store.delete(rig.archive.layout.blob(TOP.digest));
  expect(await verify(rig)).toMatchObject({
    references: 2,
    problems: [{ reference: `${registry.host}/library/app@${IMAGE.digest}`, digest: TOP.digest }],
  });
});

test.each([
  new Error('on purpose'),
  new Failure({ operation: 'get', side: 'archive', code: 'unavailable', detail: '503 SlowDown' }),
  new Failure({ operation: 'get', side: 'archive', code: 'denied', detail: 'EACCES' }),
])('a failed call aborts the verification, because the state of the object is unknown: %s', async (error) => {
  await using rig = await archived();
  for (let at = 1; ; at += 1) {
    const { port, faults } = failNth(rig.store, at, error);
    await using failing = new Rig({ store: port });
    const outcome = await verify(failing).catch((thrown: unknown) => thrown);
    if (!faults.fired) break;
    expect(outcome).toBe(error);
  }
});

// A bit flip on the way from the disk must not remove a sound object.
test.each(['read', 'get'] as const)('an object that is read wrong once (%s) is read again', async (method) => {
  await using rig = await archived();
  let spoilt = 0;
  const flaky = new Proxy(rig.store, {
    get(store, name) {
      const value: unknown = Reflect.get(store, name, store);
      if (name !== method) return typeof value === 'function' ? (value.bind(store) as unknown) : value;
      return async (key: string, options: { readonly maxBytes: number }) => {
        const found = await (method === 'get' ? store.get(key, options) : store.read(key));
        if (!key.startsWith('blobs/') || found === undefined || (spoilt += 1) > 1) return found;
        const bent = Buffer.from('bent');
        return { ...found, bytes: bent, body: Readable.from([bent]) };
      };
    },
  });
  await using bad = new Rig({ store: flaky });
  expect((await verify(bad)).problems).toEqual([]);
  expect(spoilt).toBeGreaterThan(1);
});

test('verification stops when its signal is aborted', async () => {
  await using rig = await archived();
  const controller = new AbortController();
  const reason = new Error('enough');
  await expect(
    verifyArchive(rig.archive, {
      signal: controller.signal,
      concurrency: 2,
      onProgress: ({ bytes }) => {
        if (bytes > 0) controller.abort(reason);
      },
    }),
  ).rejects.toThrow();
});

const receipt = (lies: Partial<Receipt>): Receipt => receiptOf(BASE, lies);
