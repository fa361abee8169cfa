/**
 * Misbehaviour of registries during a multipart upload to a real S3 server, with the expected outcome for a new blob and
 * for a resumed one.
 */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { ObjectStore } from '../../lib/store/store.ts';
import type { FailureCode } from '../../lib/core/failure.ts';
import type { SourcesOptions } from '../../lib/registry/sources.ts';
import { randomBytes } from '../kit/content.ts';
import { layerOf, makeImage } from '../kit/images.ts';
import type { Rule } from '../kit/misbehave.ts';
import { startRegistry, type TestRegistry } from '../kit/registry.ts';
import { describeWithS3 } from '../kit/s3-suite.ts';
import { messageFor, Rig } from '../unit/sync/rig.ts';

/** S3's smallest part. */
const PART = 5 * 1024 * 1024;
const BYTES = randomBytes(3 * PART + 700_000, 9);
const LAYER = layerOf(BYTES, BYTES, 'none');
const PARTS = 4;
const KEY = `blobs/sha256/${LAYER.digest.slice('sha256:'.length)}`;
const blob = { kind: 'blob' } as const;

await describeWithS3('a blob in transfer to S3', (server) => {
  let registry: TestRegistry;
  let other: TestRegistry;
  beforeEach(async () => {
    [registry, other] = await Promise.all([startRegistry(), startRegistry()]);
    for (const each of [registry, other]) each.push('library/app', makeImage({ layers: [LAYER] }), 'v1');
  });
  afterEach(() => Promise.all([registry.close(), other.close()]));

  const openRig = async (options: SourcesOptions = {}, bufferBytes = 3 * PART): Promise<Rig> => {
    const opened = await server.store();
    const store = new Proxy<ObjectStore>(opened, {
      get(_, key) {
        const value: unknown = Reflect.get(opened, key, opened);
        if (key === 'limits') return { ...opened.limits, usualPartBytes: PART };
        return typeof value === 'function' ? (value.bind(opened) as unknown) : value;
      },
    });
    return new Rig({ store, bufferBytes, registry: options, now: Date.now });
  };

  /** The first and the third part are stored. */
  const begun = async ({ store }: Rig): Promise<void> => {
    const upload = await store.createUpload(KEY, { partSize: PART });
    for (const part of [1, 3]) await store.uploadPart(upload, part, BYTES.subarray((part - 1) * PART, part * PART));
  };

  const copy = async (rig: Rig, how: 'fresh' | 'resumed', from: TestRegistry = registry): Promise<void> => {
    if (how === 'resumed') await begun(rig);
    from.forgetRequests();
    await rig.copy(messageFor(from, LAYER, { look: how === 'fresh' ? 'receipt' : 'everything' }));
  };

  const expectStored = async (rig: Rig): Promise<void> => {
    expect(rig.sent('finalize')[0]?.failure).toBeUndefined();
    expect(rig.sent('finalize')).toHaveLength(1);
    expect((await rig.blob(LAYER.digest))?.equals(BYTES)).toBe(true);
    expect(await rig.archive.receipt(LAYER.digest)).toMatchObject({
      size: LAYER.size,
      diffIds: { sha256: LAYER.diffId },
    });
    expect(await rig.uploads()).toEqual([]);
    expect(rig.buffers.usedBytes).toBe(0);
  };

  describe.each(['fresh', 'resumed'] as const)('a blob in transfer to S3 (%s)', (how) => {
    test.each<[string, Rule, SourcesOptions?]>([
      ['a connection that breaks', { times: 2, do: { cutAfter: 2_000_000 } }],
      ['a stall', { times: 1, do: { stallAfter: 2_000_000 } }, { limits: { stallMs: 300 } }],
      ['a rate limit', { times: 2, do: { status: 429, headers: { 'retry-after': '7' } } }],
      ['a registry that is busy', { times: 2, do: { status: 503 } }],
    ])('survives %s without a restart', async (_, rule, options) => {
      const misbehaving = registry.misbehave({ ...rule, match: blob });
      await using rig = await openRig(options);
      await copy(rig, how);
      expect(misbehaving.hits()).toBe(rule.times);
      expect(rig.phases().filter((phase) => phase === 'started')).toHaveLength(1);
      await expectStored(rig);
    });

    test.each<[string, Rule]>([
      ['a range other than the requested one', { do: { wrongContentRange: true } }],
      ['a whole body instead of the requested range', { do: { ignoreRange: true } }],
    ])('is restarted after %s', async (_, rule) => {
      // S3 may keep a part that arrives while its upload is aborted, so the first part of a fresh blob never arrives.
      if (how === 'fresh') registry.misbehave({ match: blob, times: 1, do: { stallAfter: 1000 } });
      const misbehaving = registry.misbehave({ ...rule, match: blob, after: how === 'fresh' ? 1 : 0, times: 1 });
      await using rig = await openRig();
      await copy(rig, how);
      expect(misbehaving.hits()).toBe(1);
      expect(rig.phases().filter((phase) => phase === 'started')).toHaveLength(2);
      await expectStored(rig);
    });

    test('is fetched in a single request if the registry ignores ranges', async () => {
      registry.misbehave({ match: blob, do: { ignoreRange: true } });
      await using rig = await openRig();
      await copy(rig, how);
      await expectStored(rig);
    });

    test('survives signed addresses that expire in the middle', async () => {
      registry.misbehave({ match: blob, do: { redirectTo: other, expires: 1 } });
      other.misbehave({ match: blob, times: 1, do: { cutAfter: 2_000_000 } });
      await using rig = await openRig({ connections: 1 });
      await copy(rig, how);
      expect(other.count({ ...blob, status: 403 })).toBeGreaterThan(0);
      await expectStored(rig);
    });

    test('survives a token that expires in the middle', async () => {
      await using guarded = await startRegistry({ auth: { kind: 'bearer', expiresAfterRequests: 1, form: 'get' } });
      guarded.push('library/app', makeImage({ layers: [LAYER] }), 'v1');
      await using rig = await openRig({ connections: 1 });
      await copy(rig, how, guarded);
      expect(guarded.count({ kind: 'token' })).toBeGreaterThan(1);
      await expectStored(rig);
    });

    // Part 2 is missing in both cases, and has a wrong byte.
    test.each<[string, FailureCode, Rule['do']]>([
      ['a wrong byte', 'digest-mismatch', { flipByteAt: PART + 7 }],
      ['a blob that disappears', 'blob-unknown', { status: 404 }],
      ['a blob that is denied', 'denied', { status: 403 }],
    ])('fails after %s as %s, and leaves nothing behind', async (_, code, doing) => {
      registry.misbehave({ match: blob, do: doing });
      await using rig = await openRig();
      await copy(rig, how);
      expect(rig.sent('finalize')).toMatchObject([
        { failure: { code, reason: expect.stringContaining(LAYER.digest) as string } },
      ]);
      expect(await rig.blob(LAYER.digest)).toBeUndefined();
      expect(await rig.archive.receipt(LAYER.digest)).toBeUndefined();
      expect(await rig.uploads()).toEqual([]);
    });

    test.each<[string, FailureCode, Rule['do']]>([
      ['a lasting rate limit', 'rate-limited', { status: 429, headers: { 'retry-after': '600' } }],
      ['a registry that is down', 'unavailable', { status: 503 }],
    ])('is left to the queue after %s as %s, with its stored parts', async (_, code, doing) => {
      // One part at a time, so that the part before it is stored.
      await using rig = await openRig({}, PART);
      const down = registry.misbehave({ match: blob, after: 1, do: doing });
      await expect(copy(rig, how)).rejects.toMatchObject({ code, remedy: 'retry' });
      expect(rig.outgoing).toEqual([]);
      const [left] = await rig.uploads();
      const landed = left?.parts.map(({ number }) => number) ?? [];
      expect(landed.length).toBe(how === 'fresh' ? 1 : 3);
      down.stop();
      registry.forgetRequests();
      await rig.copy(messageFor(registry, LAYER), { receiveCount: 2 });
      expect(registry.count(blob)).toBe(PARTS - landed.length);
      await expectStored(rig);
    });
  });
});
