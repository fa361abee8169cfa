import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { Archive } from '../../../lib/archive/archive.ts';
import { ociLayout } from '../../../lib/archive/oci-layout.ts';
import { withDecisionIn, withPolicy } from '../../../lib/archive/tag-index/withheld.ts';
import type { Outcome } from '../../../lib/app/outcomes.ts';
import { NO_POLICY, type Policy } from '../../../lib/policy/policy.ts';
import type { FoundSignature } from '../../../lib/signatures/signature.ts';
import { makeImage, makeLayer, type Pushable } from '../../kit/images.ts';
import { MemoryStore } from '../../kit/memory-store.ts';
import { mirror } from '../../kit/mirror.ts';
import { startRegistry, type TestRegistry } from '../../kit/registry.ts';
import { bundleReferrer, signatureManifest, signatureTag } from '../../kit/signatures.ts';
import { RELEASE, type Sigstore, startSigstore } from '../../kit/sigstore.ts';

const MINUTE = 60_000;
const DAY = 24 * 60 * MINUTE;

let sigstore: Sigstore;
let registry: TestRegistry;
let store: MemoryStore;
let archive: Archive;
let count = 0;
let image: ReturnType<typeof makeImage>;

beforeAll(async () => {
  [sigstore, registry] = await Promise.all([startSigstore(), startRegistry()]);
});

afterAll(() => registry.close());

beforeEach(() => {
  store = new MemoryStore();
  archive = new Archive(store, ociLayout);
  // Each test has an image and a repository of its own.
  count += 1;
  image = makeImage({ layers: [makeLayer({ seed: count })] });
  registry.push(path(), image, '1');
  registry.forgetRequests();
});

function path(): string {
  return `app${count}`;
}

function repository(): string {
  return `${registry.host}/${path()}`;
}

async function apply(policy: Partial<Policy> = {}): Promise<void> {
  const whole: Policy = { ...NO_POLICY, verify: 'require', signers: [RELEASE], ...policy };
  await archive.updatePolicy(repository(), (index) => withPolicy(index, whole));
}

async function sync(
  now = Date.now(),
  reference = `${repository()}:1`,
  { trustedRoot }: Pick<Sigstore, 'trustedRoot'> = sigstore,
): Promise<Outcome> {
  const { outcomes } = await mirror({ store, references: [reference], trustedRoot, now: () => now });
  return outcomes[0]!;
}

function pushBundle(of: Pushable, signature: FoundSignature & { kind: 'bundle' }): void {
  registry.push(path(), bundleReferrer(of, signature));
}

function layerGets(): number {
  return image.layers.reduce((sum, { digest }) => sum + registry.count({ digest }), 0);
}

async function tags(): Promise<readonly (string | undefined)[]> {
  const index = (await archive.tagIndex(repository()))?.index;
  return index?.entries().map(({ tag }) => tag) ?? [];
}

function alteredEntry(signature: FoundSignature & { kind: 'bundle' }): FoundSignature & { kind: 'bundle' } {
  const later = Buffer.from(signature.bytes)
    .toString()
    .replace(/"integratedTime":"(\d+)"/, (_, time: string) => `"integratedTime":"${Number(time) + 1}"`);
  return { ...signature, bytes: Buffer.from(later) };
}

describe('an image whose policy requires a signature', () => {
  test('is mirrored with the right identity', async () => {
    await apply();
    pushBundle(image, await sigstore.signBundle(image.digest, RELEASE));
    expect(await sync()).toMatchObject({ status: 'mirrored', digest: image.digest });
    // The list that found the signature is also that of the referrers to mirror.
    expect(registry.count({ kind: 'referrers', digest: image.digest })).toBe(1);
    const entry = (await archive.tagIndex(repository()))?.index.byTag('1');
    expect(entry).toMatchObject({ digest: image.digest, signed: sigstore.issuedAt.getTime() });
    expect(await sync()).toMatchObject({ status: 'unchanged' });
  });

  test('is mirrored with a signature of cosign under another tag of the same digest', async () => {
    await apply();
    const signature = await sigstore.signSimple(image.digest, RELEASE);
    registry.push(path(), signatureManifest([signature]), signatureTag(image));
    registry.tag(path(), 'stable', image.digest);
    expect(await sync(Date.now(), `${repository()}:stable`)).toMatchObject({ status: 'mirrored' });
  });

  test.each([
    ['no signature', undefined, 'no signature was found'],
    [
      'another identity',
      () => sigstore.signBundle(image.digest, { ...RELEASE, identity: 'https://github.com/evil' }),
      'it is by "https://github.com/evil"',
    ],
    [
      'another issuer',
      () => sigstore.signBundle(image.digest, { ...RELEASE, issuer: 'https://example.com' }),
      '(issuer "https://example.com"), expected',
    ],
    [
      'a signature of another digest',
      () => sigstore.signBundle(makeImage({ layers: [] }).digest, RELEASE),
      'it signs another digest',
    ],
    [
      'an altered log entry',
      async () => alteredEntry(await sigstore.signBundle(image.digest, RELEASE)),
      'inclusion promise could not be verified',
    ],
    [
      'a certificate that had expired',
      () => sigstore.signBundle(image.digest, RELEASE, { logAfter: 11 }),
      'certificate is not valid or expired',
    ],
  ])('is unverified with %s, and no layer is fetched', async (_, signed, reason) => {
    await apply();
    const signature = await signed?.();
    if (signature !== undefined) pushBundle(image, signature);
    expect(await sync()).toMatchObject({
      status: 'unverified',
      digest: image.digest,
      reason: expect.stringContaining(reason),
    });
    expect(layerGets()).toBe(0);
    expect(await tags()).toEqual([]);
    expect((await archive.tagIndex(repository()))?.index.control.unverified).toMatchObject([
      { tag: '1', digest: image.digest, reason: expect.stringContaining(reason) },
    ]);
  });

  test('is mirrored with a note if the policy only warns', async () => {
    await apply({ verify: 'warn' });
    expect(await sync()).toMatchObject({
      status: 'mirrored',
      notes: [expect.stringContaining('not verified: no signature was found (expected one by')],
    });
  });

  test('costs one HEAD until its next check is due, and is mirrored when it is signed by then', async () => {
    await apply();
    const start = Date.now() - 40 * DAY;
    expect(await sync(start)).toMatchObject({ status: 'unverified' });
    pushBundle(image, await sigstore.signBundle(image.digest, RELEASE));
    registry.forgetRequests();
    expect(await sync(start + 9 * MINUTE)).toMatchObject({ status: 'unverified' });
    expect(registry.requests.filter(({ kind }) => kind !== 'ping')).toMatchObject([{ method: 'HEAD', tag: '1' }]);
    expect(await sync(start + 10 * MINUTE)).toMatchObject({ status: 'mirrored' });
    expect((await archive.tagIndex(repository()))?.index.control.unverified).toEqual([]);
  });

  test('is given up after 30 days, with a report', async () => {
    await apply();
    const start = Date.now() - 400 * DAY;
    await sync(start);
    await sync(start + 31 * DAY);
    registry.forgetRequests();
    expect(await sync(start + 300 * DAY)).toMatchObject({
      status: 'unverified',
      reason: expect.stringMatching(/no signature was found .*; given up after 30 days$/),
    });
    expect(registry.count({ kind: 'referrers' })).toBe(0);
  });

  test('stays visible if it was visible before', async () => {
    expect(await sync()).toMatchObject({ status: 'mirrored' });
    await apply();
    expect(await sync()).toMatchObject({ status: 'unchanged' });
    expect(await tags()).toEqual(['1']);
  });

  test('stays visible after a change of the trusted root, which applies to new images', async () => {
    await apply();
    const other = await startSigstore();
    pushBundle(image, await sigstore.signBundle(image.digest, RELEASE));
    expect(await sync()).toMatchObject({ status: 'mirrored' });
    registry.forgetRequests();
    expect(await sync(Date.now(), undefined, other)).toMatchObject({ status: 'unchanged' });
    expect(await tags()).toContain('1');
    const [before, after] = [1, 2].map((seed) => makeImage({ layers: [makeLayer({ seed: seed + 2_000 })] }));
    for (const [tag, each, by] of [
      ['before', before!, sigstore],
      ['after', after!, other],
    ] as const) {
      registry.push(path(), each, tag);
      pushBundle(each, await by.signBundle(each.digest, RELEASE));
    }
    const now = Date.now();
    expect(await sync(now, `${repository()}:before`, other)).toMatchObject({ status: 'unverified' });
    expect(await sync(now, `${repository()}:after`, other)).toMatchObject({ status: 'mirrored' });
    // The digest that the new root refuses is checked against the former one at once.
    expect(await sync(now, `${repository()}:before`)).toMatchObject({ status: 'mirrored' });
  });

  test('is verified again at once after a change of the signers, and once more if it was given up', async () => {
    await apply({ signers: [{ ...RELEASE, identity: 'https://github.com/other' }] });
    pushBundle(image, await sigstore.signBundle(image.digest, RELEASE));
    const start = Date.now() - 100 * DAY;
    await sync(start);
    await sync(start + 31 * DAY);
    const givenUp = { status: 'unverified', reason: expect.stringMatching(/; given up after 30 days$/) };
    expect(await sync(start + 40 * DAY)).toMatchObject(givenUp);
    await apply({ signers: [{ ...RELEASE, issuer: 'https://issuer.example' }] });
    registry.forgetRequests();
    expect(await sync(start + 40 * DAY)).toMatchObject({ status: 'unverified' });
    expect(registry.count({ kind: 'referrers' })).toBe(1);
    registry.forgetRequests();
    expect(await sync(start + 40 * DAY)).toMatchObject(givenUp);
    expect(registry.requests.filter(({ kind }) => kind !== 'ping')).toMatchObject([{ method: 'HEAD', tag: '1' }]);
    await apply();
    expect(await sync(start + 40 * DAY)).toMatchObject({ status: 'mirrored' });
  });

  test('is not exempt because it names a subject, as signatures do', async () => {
    await apply();
    const { mediaType, digest, manifest } = image;
    const subject = { mediaType, digest, size: manifest.length };
    image = makeImage({ layers: [makeLayer({ seed: 1_000 + count })], overrides: { manifest: { subject } } });
    registry.push(path(), image, '1');
    expect(await sync()).toMatchObject({ status: 'unverified' });
    expect(layerGets()).toBe(0);
  });

  test('is mirrored without a signature if a person has released it', async () => {
    await apply();
    const decision = { action: 'release', digest: image.digest, by: 'lena', at: 1_000, reason: 'built here' } as const;
    await archive.updatePolicy(repository(), (index) => withDecisionIn(index, decision));
    expect(await sync()).toMatchObject({ status: 'mirrored' });
  });
});
