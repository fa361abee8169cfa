/** The tags `sha256-…` of a repository whose tags are listed. */
import { generateKeyPairSync } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { MEDIA_TYPES } from '../../../lib/oci/mediatype.ts';
import { referrersTag } from '../../../lib/oci/referrer-tags.ts';
import { NO_POLICY, type Policy } from '../../../lib/policy/policy.ts';
import { makeArtifact, makeImage, makeIndex, makeLayer, type Pushable } from '../../kit/images.ts';
import { MemoryStore } from '../../kit/memory-store.ts';
import { mirror } from '../../kit/mirror.ts';
import { startRegistry, type TestRegistry } from '../../kit/registry.ts';

const TAG = `sha256-${'ab'.repeat(32)}`;

let registry: TestRegistry;
let store: MemoryStore;
let name: string;
let seed = 7000;

beforeAll(async () => {
  registry = await startRegistry();
});
afterAll(() => registry.close());
beforeEach(() => {
  store = new MemoryStore();
  name = `team/lists${(seed += 1)}`;
});

const image = (): Pushable => makeImage({ layers: [makeLayer({ seed: (seed += 1) })] });
const referrerOf = (subject: Pushable): Pushable =>
  makeArtifact({ subject, artifactType: 'application/x.thing', blobs: [Buffer.from(`referrer ${(seed += 1)}`)] });

/** A sync of all tags, with the requests for manifests. */
async function syncAll(policy?: Policy) {
  registry.forgetRequests();
  const repository = `${registry.host}/${name}`;
  const references = [repository];
  const { outcomes, archive, events } = await mirror({
    store,
    references,
    ...(policy === undefined ? {} : { policy }),
  });
  const index = (await archive.tagIndex(repository))!.index;
  const requests = registry.requests.filter(({ kind }) => kind === 'manifest');
  return { outcomes, index, events, requests: requests.map(({ method, tag }) => `${method} ${tag ?? 'digest'}`) };
}

test.each<readonly [string, () => Pushable]>([
  ['an image', image],
  ['an image with platforms', () => makeIndex([image()])],
])('%s under such a tag is mirrored, and costs one request in the next run', async (_, make) => {
  const pushed = make();
  registry.push(name, pushed, TAG);
  const { index, outcomes } = await syncAll();
  expect(outcomes).toMatchObject([{ status: 'mirrored', digest: pushed.digest }]);
  expect(index.byTag(TAG)?.digest).toBe(pushed.digest);
  expect((await syncAll()).requests).toEqual([`GET ${TAG}`]);
});

test('the referrers of a list are mirrored without it, even if the API does not have them', async () => {
  const subject = image();
  const referrer = referrerOf(subject);
  registry.push(name, subject, 'v1');
  registry.push(name, makeIndex([referrer]), referrersTag(subject.digest));
  const empty = { schemaVersion: 2, mediaType: MEDIA_TYPES.ociIndex, manifests: [] };
  const headers = { 'content-type': MEDIA_TYPES.ociIndex };
  using _ = withdrawn(registry.misbehave({ match: { kind: 'referrers' }, do: { status: 200, body: empty, headers } }));
  const { index, outcomes } = await syncAll();
  expect(outcomes.map(({ status }) => status).sort()).toEqual(['mirrored', 'unchanged']);
  expect(outcomes.find(({ status }) => status === 'unchanged')?.reason).toContain(`referrers of ${subject.digest}`);
  expect(index.byTag(referrersTag(subject.digest))).toBeUndefined();
  expect(index.byDigest(referrer.digest)).toMatchObject({ subject: subject.digest, tag: undefined });
  // The checks of the archived image read the list.
  const next = await syncAll();
  expect(next.requests).toEqual(['HEAD v1']);
  expect(next.outcomes).toMatchObject([{ status: 'unchanged', reference: `${registry.host}/${name}:v1` }]);
});

test('the referrers of a list are mirrored although upstream does not tag their subject', async () => {
  const subject = image();
  const referrer = referrerOf(subject);
  registry.push(name, image(), 'v1');
  registry.push(name, makeIndex([referrer]), referrersTag(subject.digest));
  const { index } = await syncAll();
  expect(index.byDigest(referrer.digest)).toMatchObject({ subject: subject.digest });
});

test('a list is not read under a policy without referrers', async () => {
  const subject = image();
  const referrer = referrerOf(subject);
  registry.push(name, subject, 'v1');
  registry.push(name, makeIndex([referrer]), referrersTag(subject.digest));
  const { index, outcomes } = await syncAll({ ...NO_POLICY, referrers: 'none' });
  expect(outcomes.map(({ status }) => status).sort()).toEqual(['mirrored', 'unchanged']);
  expect(index.byDigest(referrer.digest)).toBeUndefined();
});

test('an image under such a tag needs a signature like any other', async () => {
  registry.push(name, image(), TAG);
  const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const key = publicKey.export({ type: 'spki', format: 'pem' }).toString();
  const { outcomes } = await syncAll({ ...NO_POLICY, verify: 'require', signers: [{ key }] });
  expect(outcomes).toMatchObject([{ status: 'unverified' }]);
});

function withdrawn(rule: { stop: () => void }): Disposable {
  return { [Symbol.dispose]: () => rule.stop() };
}
