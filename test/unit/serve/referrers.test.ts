import { expect, test } from 'vitest';
import { cosignTags } from '../../../lib/oci/referrer-tags.ts';
import { makeArtifact, makeImage, makeIndex, pushable, type Pushable } from '../../kit/images.ts';
import { Served } from './served.ts';

const NAME = 'docker.io/library/alpine';
const IMAGE = makeImage({ layers: [] });
const INDEX = makeIndex([IMAGE]);
const SBOM_TYPE = 'application/spdx+json';

function artifact(subject: Pushable, text: string, artifactType = SBOM_TYPE): Pushable {
  return makeArtifact({ subject, artifactType, blobs: [Buffer.from(text)] });
}

async function servedWith(...referrers: readonly Pushable[]): Promise<Served> {
  const served = new Served();
  await served.add(NAME, INDEX, '3.20');
  for (const referrer of referrers) await served.refer(NAME, referrer);
  return served;
}

interface List {
  readonly manifests: readonly { readonly digest: string }[];
}

async function listOf(served: Served, target: string): Promise<List & { readonly response: Response }> {
  const response = await served.get(target);
  return { ...((await response.json()) as List), response };
}

test('the referrers API lists the referrers of each manifest as the source does', async () => {
  const [signature, sbom, ofSbom] = [artifact(INDEX, 'a', 'a/b'), artifact(IMAGE, 'b'), artifact(IMAGE, 'c')];
  const nested = artifact(sbom, 'd');
  const served = await servedWith(signature, sbom, ofSbom, nested);
  const { response, ...list } = await listOf(served, `/v2/${NAME}/referrers/${INDEX.digest}`);
  expect(response.headers.get('content-type')).toBe('application/vnd.oci.image.index.v1+json');
  expect(list).toEqual({
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.index.v1+json',
    manifests: [
      {
        mediaType: signature.mediaType,
        digest: signature.digest,
        size: signature.manifest.length,
        artifactType: 'a/b',
      },
    ],
  });
  const ofImage = await listOf(served, `/v2/${NAME}/referrers/${IMAGE.digest}`);
  expect(ofImage.manifests.map(({ digest }) => digest)).toEqual([sbom.digest, ofSbom.digest].sort());
  const ofReferrer = await listOf(served, `/v2/${NAME}/referrers/${sbom.digest}`);
  expect(ofReferrer.manifests.map(({ digest }) => digest)).toEqual([nested.digest]);
  for (const { digest, manifest } of [signature, nested]) {
    const pulled = await served.get(`/v2/${NAME}/manifests/${digest}`);
    expect(Buffer.from(await pulled.arrayBuffer()).equals(manifest)).toBe(true);
  }
});

test('the referrers API filters by type, and says so', async () => {
  const [one, other] = [artifact(INDEX, 'a', 'a/b'), artifact(INDEX, 'b')];
  const served = await servedWith(one, other);
  const { manifests, response } = await listOf(served, `/v2/${NAME}/referrers/${INDEX.digest}?artifactType=a%2Fb`);
  expect(manifests.map(({ digest }) => digest)).toEqual([one.digest]);
  expect(response.headers.get('oci-filters-applied')).toBe('artifactType');
});

test('the referrers API has the annotations of the manifests, and never those of an entry', async () => {
  const annotations = { 'org.opencontainers.image.ref.name': 'latest', 'org.example': 'x' };
  const manifest = JSON.parse(artifact(INDEX, 'a').manifest.toString()) as object;
  const bytes = Buffer.from(JSON.stringify({ ...manifest, annotations }));
  const referrer = pushable(bytes, artifact(INDEX, 'a').mediaType);
  const served = await servedWith(referrer);
  const { manifests } = await listOf(served, `/v2/${NAME}/referrers/${INDEX.digest}`);
  expect(manifests).toMatchObject([{ digest: referrer.digest, annotations }]);
  expect((await served.get(`/v2/${NAME}/manifests/latest`)).status).toBe(404);
});

test('the referrers API lists neither tags of cosign nor a manifest that is corrupt', async () => {
  const served = await servedWith();
  const [sig = { tag: '' }] = cosignTags(INDEX.digest);
  const cosign = makeArtifact({ blobs: [Buffer.from('cosign')] });
  await served.refer(NAME, cosign, { tag: sig.tag, subject: INDEX.digest });
  const corrupt = artifact(INDEX, 'x');
  await served.refer(NAME, corrupt);
  await served.store.put(served.archive.layout.blob(corrupt.digest), Buffer.from('corrupt'));
  expect((await listOf(served, `/v2/${NAME}/referrers/${INDEX.digest}`)).manifests).toEqual([]);
  expect((await served.get(`/v2/${NAME}/manifests/${sig.tag}`)).status).toBe(200);
  expect(served.faults).toHaveLength(1);
});

test('the referrers API has pages, of which none exceeds 512 KiB', async () => {
  const large = 'x'.repeat(50_000);
  const base = JSON.parse(artifact(INDEX, 'a').manifest.toString()) as object;
  const referrers = Array.from({ length: 25 }, (_, at) =>
    pushable(Buffer.from(JSON.stringify({ ...base, annotations: { at: `${at}${large}` } })), IMAGE.mediaType),
  );
  const served = await servedWith(...referrers);
  const digests: string[] = [];
  let pages = 0;
  for (let target: string | undefined = `/v2/${NAME}/referrers/${INDEX.digest}?artifactType=`; target !== undefined;) {
    const { manifests, response } = await listOf(served, target);
    expect(JSON.stringify(manifests).length).toBeLessThan(520 * 1024);
    digests.push(...manifests.map(({ digest }) => digest));
    target = /^<([^>]*)>; rel="next"$/.exec(response.headers.get('link') ?? '')?.[1];
    pages += 1;
  }
  expect(pages).toBe(3);
  expect(digests).toEqual(referrers.map(({ digest }) => digest).sort());
});

test('the referrers API answers for an earlier time', async () => {
  const served = await servedWith();
  await served.refer(NAME, artifact(INDEX, 'late'), {}, Date.parse('2026-02-01T00:00:00Z'));
  for (const [time, count] of [
    ['20260131', 0],
    ['20260201', 1],
  ] as const)
    expect((await listOf(served, `/v2/at-${time}/${NAME}/referrers/${INDEX.digest}`)).manifests).toHaveLength(count);
});
