import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { Archive } from '../../../lib/archive/archive.ts';
import { ociLayout } from '../../../lib/archive/oci-layout.ts';
import { withPolicy } from '../../../lib/archive/tag-index/withheld.ts';
import { type TagEntry, TagIndex } from '../../../lib/archive/tag-index/tag-index.ts';
import { parseAttestationKey } from '../../../lib/attest/key.ts';
import { Failure, invalid } from '../../../lib/core/failure.ts';
import type { Digest } from '../../../lib/oci/digest.ts';
import { NO_POLICY, type Policy } from '../../../lib/policy/policy.ts';
import type { Attestor } from '../../../lib/sync/finalizer/attest.ts';
import { makeImage, makeLayer } from '../../kit/images.ts';
import { MemoryStore } from '../../kit/memory-store.ts';
import { mirror } from '../../kit/mirror.ts';
import { startRegistry, type TestRegistry } from '../../kit/registry.ts';
import { keyPair } from '../../kit/sigstore.ts';

const image = makeImage();
const pem = keyPair().privateKey.export({ format: 'pem', type: 'pkcs8' }).toString();
const attestor = (): Promise<Attestor> =>
  Promise.resolve({ key: parseAttestationKey(pem), version: '1.0.0', now: Date.now });

let registry: TestRegistry;
let store: MemoryStore;
let archive: Archive;

beforeAll(async () => {
  registry = await startRegistry();
  registry.push('app', image, '1');
  registry.push('app', image, '2');
});

afterAll(() => registry.close());

beforeEach(() => {
  store = new MemoryStore();
  archive = new Archive(store, ociLayout);
});

function content(digest: Digest): Promise<Uint8Array | undefined> {
  return archive.content(digest, { maxBytes: 100_000 });
}

async function sync(attest: Policy['attest'], signer?: () => Promise<Attestor>, tag = '1') {
  const repository = `${registry.host}/app`;
  await archive.updatePolicy(repository, (index) => withPolicy(index, { ...NO_POLICY, attest }));
  const references = [`${repository}:${tag}`];
  const { outcomes } = await mirror({ store, references, ...(signer === undefined ? {} : { attestor: signer }) });
  const index = (await archive.tagIndex(repository))?.index;
  const attestations: readonly TagEntry[] = index?.referrersOf(image.digest) ?? [];
  return { outcome: outcomes[0], attestations };
}

describe('a mirrored image', () => {
  test('gets one attestation, which another tag and another run do not repeat', async () => {
    const first = await sync('on', attestor);
    expect(first.outcome).toMatchObject({ status: 'mirrored' });
    expect(first.attestations).toMatchObject([{ artifactType: 'application/vnd.dev.sigstore.bundle.v0.3+json' }]);
    expect((await sync('on', attestor)).outcome).toMatchObject({ status: 'unchanged' });
    const second = await sync('on', attestor, '2');
    expect(second.outcome).toMatchObject({ status: 'mirrored' });
    expect(second.attestations).toEqual(first.attestations);
  });

  test('gets none unless the policy wants it', async () => {
    expect(await sync('off', attestor)).toMatchObject({ outcome: { status: 'mirrored' }, attestations: [] });
  });

  test('has a note without a key', async () => {
    const { outcome, attestations } = await sync('on');
    expect(outcome).toMatchObject({
      status: 'mirrored',
      notes: [expect.stringContaining('not attested: no attestation key is set')],
    });
    expect(attestations).toEqual([]);
  });

  test('is a failure without a key if the policy requires attestations, and becomes visible with its attestation', async () => {
    const key = archive.layout.tagIndex(`${registry.host}/app`);
    const shown: (readonly (string | undefined)[])[] = [];
    store = new MemoryStore({
      onChange(changed) {
        if (changed !== key) return;
        const index = TagIndex.parse(store.peek(key)!, key);
        shown.push(
          index.entries().map(({ tag, subject }) => tag ?? (subject === image.digest ? 'attestation' : undefined)),
        );
      },
    });
    archive = new Archive(store, ociLayout);
    expect((await sync('require')).outcome).toMatchObject({
      status: 'failed',
      reason: expect.stringContaining('set --attest-key or MIRROR_SYNC_ATTEST_KEY'),
    });
    expect(shown).toEqual([[]]);
    expect((await sync('require', attestor)).outcome).toMatchObject({ status: 'mirrored' });
    // One write has both.
    expect(shown).toEqual([[], ['1', 'attestation']]);
  });

  test('keeps the digest of a tag that has moved, if the new one cannot be attested', async () => {
    const [before, after] = [1, 2].map((seed) => makeImage({ layers: [makeLayer({ seed })] }));
    registry.push('app', before!, 'moving');
    await sync('require', attestor, 'moving');
    registry.push('app', after!, 'moving');
    expect((await sync('require', undefined, 'moving')).outcome).toMatchObject({ status: 'failed' });
    const index = (await archive.tagIndex(`${registry.host}/app`))?.index;
    expect(index?.byTag('moving')).toMatchObject({ digest: before!.digest });
    expect(index?.byDigest(after!.digest)).toBeUndefined();
  });

  test('is attested at the next delivery if the key is unavailable for now', async () => {
    let calls = 0;
    const busy = new Failure({ operation: 'sign', side: 'archive', code: 'unavailable', detail: 'busy' });
    const signer = (): Promise<Attestor> => ((calls += 1) === 1 ? Promise.reject(busy) : attestor());
    expect(await sync('on', signer)).toMatchObject({ outcome: { status: 'mirrored' }, attestations: [{}] });
    const wrong = (): Promise<Attestor> => Promise.reject(invalid('read key', 'denied'));
    expect((await sync('on', wrong, '2')).outcome).toMatchObject({ notes: ['not attested: read key: denied'] });
  });
});

describe('an image that the archive had before attestations were switched on', () => {
  test('gets one attestation for the cost of a HEAD, and later runs write nothing', async () => {
    await sync('off');
    registry.forgetRequests();
    expect(await sync('on', attestor)).toMatchObject({ outcome: { status: 'unchanged' }, attestations: [{}] });
    expect(registry.requests.filter(({ kind }) => kind !== 'ping')).toMatchObject([{ method: 'HEAD', tag: '1' }]);
    const { etag } = (await archive.tagIndex(`${registry.host}/app`))!;
    expect((await sync('on', attestor)).attestations).toHaveLength(1);
    expect((await archive.tagIndex(`${registry.host}/app`))?.etag).toBe(etag);
  });

  test('is attested at the next delivery if the key is unavailable for now', async () => {
    await sync('off');
    let calls = 0;
    const busy = new Failure({ operation: 'sign', side: 'archive', code: 'unavailable', detail: 'busy' });
    const signer = (): Promise<Attestor> => ((calls += 1) === 1 ? Promise.reject(busy) : attestor());
    expect(await sync('on', signer)).toMatchObject({ outcome: { status: 'unchanged' }, attestations: [{}] });
    expect(calls).toBe(2);
  });

  test('gets a statement that claims no policy', async () => {
    await sync('off');
    const [attestation] = (await sync('require', attestor)).attestations;
    const manifest = JSON.parse(Buffer.from((await content(attestation!.digest))!).toString()) as {
      layers: { digest: Digest }[];
    };
    const bundle = JSON.parse(Buffer.from((await content(manifest.layers[0]!.digest))!).toString()) as {
      dsseEnvelope: { payload: string };
    };
    const statement = JSON.parse(Buffer.from(bundle.dsseEnvelope.payload, 'base64').toString()) as object;
    expect(statement).toMatchObject({
      predicate: {
        policy: { verify: 'off', minimumAgeSeconds: 0, moved: 'follow' },
        proven: { manifests: [{ digest: image.digest }], blobs: [{}, {}] },
      },
    });
  });

  test('stays visible without a key, and the failure is reported once', async () => {
    await sync('off');
    const failures: unknown[] = [];
    const repository = `${registry.host}/app`;
    await archive.updatePolicy(repository, (index) => withPolicy(index, { ...NO_POLICY, attest: 'require' }));
    const { outcomes } = await mirror({
      store,
      references: [`${repository}:1`],
      onNotAttested: (failure, of, archived) => failures.push([failure.detail, of, archived]),
    });
    expect(outcomes).toMatchObject([{ status: 'unchanged' }]);
    expect(failures).toEqual([[expect.stringContaining('no attestation key is set'), repository, 1]]);
  });

  test('gets none if it is incomplete', async () => {
    await sync('off');
    await store.delete(archive.layout.blob(image.layers[0]!.digest));
    await store.delete(archive.layout.receipt(image.layers[0]!.digest));
    expect((await sync('on', attestor)).attestations).toEqual([]);
  });

  test('gets none if upstream does not have it, as an image that was converted', async () => {
    await sync('off');
    const repository = `${registry.host}/app`;
    const made = makeImage({ layers: [makeLayer({ seed: 9 })] });
    for (const [digest, bytes] of [[made.digest, made.manifest] as const, ...made.blobs])
      await archive.putContent(digest, bytes);
    const { descriptor, digest } = made;
    await archive.updateTags(repository, [{ tag: 'made', descriptor, observed: Date.now(), platforms: 'all' }]);
    await archive.updatePolicy(repository, (index) => withPolicy(index, { ...NO_POLICY, attest: 'on' }));
    for (const references of [[repository], [`${repository}@${digest}`]]) await mirror({ store, references, attestor });
    const index = (await archive.tagIndex(repository))?.index;
    expect(index?.referrersOf(digest)).toEqual([]);
    expect(index?.referrersOf(image.digest)).toHaveLength(1);
  });

  test('waits for a later run if the run attests 25 others', async () => {
    const repository = `${registry.host}/many`;
    const images = Array.from({ length: 30 }, (_, seed) => makeImage({ layers: [makeLayer({ seed, size: 10 })] }));
    for (const [at, each] of images.entries()) registry.push('many', each, `t${at}`);
    const references = [repository];
    await mirror({ store, references });
    await archive.updatePolicy(repository, (index) => withPolicy(index, { ...NO_POLICY, attest: 'on' }));
    const attested = async (): Promise<number> => {
      await mirror({ store, references, attestor });
      const index = (await archive.tagIndex(repository))?.index;
      return images.filter(({ digest }) => (index?.referrersOf(digest).length ?? 0) > 0).length;
    };
    expect([await attested(), await attested()]).toEqual([25, 30]);
  });
});
