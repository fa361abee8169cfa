import { describe, expect, test } from 'vitest';
import { cosignTags, referrersTag, subjectOfTag } from '../../../lib/oci/referrer-tags.ts';
import { MEDIA_TYPES } from '../../../lib/oci/mediatype.ts';
import { type KnownTags, sharingTags } from '../../../lib/registry/referrer-tags.ts';
import type { Referrers } from '../../../lib/registry/source.ts';
import { makeArtifact, makeImage, makeIndex } from '../../kit/images.ts';
import { errorBody, startRegistry, type RegistryOptions, type TestRegistry } from '../../kit/registry.ts';
import { failureOf, testSources } from './helpers.ts';

const REPOSITORY = 'library/alpine';
const IMAGE = makeImage({ layers: [] });
const SBOM = makeArtifact({ subject: IMAGE, artifactType: 'application/spdx+json', blobs: [Buffer.from('sbom')] });
const SIGNATURE = makeArtifact({
  subject: IMAGE,
  artifactType: 'application/x.signature',
  blobs: [Buffer.from('sig')],
});
const COSIGN = makeArtifact({ artifactType: 'application/x.cosign', blobs: [Buffer.from('cosign')] });
const SCHEMA_TAG = referrersTag(IMAGE.digest);
const [SIG, ATT, SBOM_TAG] = cosignTags(IMAGE.digest).map(({ tag }) => tag) as [string, string, string];

async function registryWith(options?: RegistryOptions): Promise<TestRegistry> {
  const registry = await startRegistry(options);
  for (const each of [IMAGE, SBOM, SIGNATURE]) registry.push(REPOSITORY, each);
  registry.tag(REPOSITORY, 'latest', IMAGE.digest);
  return registry;
}

/** A registry without the API, and with the tag schema. */
async function registryWithTagSchema(): Promise<TestRegistry> {
  const registry = await registryWith({ referrers: false });
  registry.push(REPOSITORY, makeIndex([SBOM, SIGNATURE]), SCHEMA_TAG);
  return registry;
}

function digestsOf({ manifests }: Referrers): readonly string[] {
  return manifests.map(({ digest }) => digest);
}

/** The requests as method and kind: `GET referrers`. */
function requestsOf(registry: TestRegistry): readonly string[] {
  return registry.requests.map(({ method, kind }) => `${method} ${kind}`);
}

const ALL = [SBOM.digest, SIGNATURE.digest];

describe('a registry with the referrers API', () => {
  test('costs one request for each manifest, and one list of tags for all', async () => {
    await using registry = await registryWith();
    await using sources = testSources();
    const source = sources.at(registry.host);
    const { manifests, notes } = await source.referrers(IMAGE.digest);
    expect(manifests).toEqual([
      {
        digest: SBOM.digest,
        mediaType: MEDIA_TYPES.ociManifest,
        size: SBOM.manifest.length,
        artifactType: 'application/spdx+json',
      },
      expect.objectContaining({ digest: SIGNATURE.digest, artifactType: 'application/x.signature' }),
    ]);
    expect(notes).toEqual([]);
    expect(await source.referrers(SBOM.digest)).toEqual({ manifests: [], notes: [] });
    expect(requestsOf(registry)).toEqual(['GET referrers', 'GET tags', 'GET referrers']);
  });

  test('is followed through all pages of a list', async () => {
    await using registry = await registryWith({ referrersPageSize: 1 });
    await using sources = testSources();
    expect(digestsOf(await sources.at(registry.host).referrers(IMAGE.digest))).toEqual(ALL);
    expect(registry.count({ kind: 'referrers' })).toBe(2);
  });

  test('gets the query of a link only, with the host and path that worked', async () => {
    await using registry = await registryWith({ referrersPageSize: 1 });
    await using sources = testSources();
    const link = `<https://elsewhere.example/v2/x/referrers/${SBOM.digest}?from=1>; rel="next"`;
    registry.misbehave({ match: { kind: 'referrers' }, times: 1, do: { headers: { link } } });
    expect(digestsOf(await sources.at(registry.host).referrers(IMAGE.digest))).toEqual(ALL);
    expect(registry.requests[1]?.path).toBe(`/v2/${REPOSITORY}/referrers/${IMAGE.digest}?from=1`);
  });

  test('filters by one type itself, and its response is filtered again', async () => {
    await using registry = await registryWith();
    await using sources = testSources();
    const source = sources.at(registry.host);
    const one = await source.referrers(IMAGE.digest, { artifactTypes: ['application/spdx+json'] });
    expect(digestsOf(one)).toEqual([SBOM.digest]);
    const path = `/v2/${REPOSITORY}/referrers/${IMAGE.digest}?artifactType=${encodeURIComponent('application/spdx+json')}`;
    // The types are not cosign's, so its tags are not looked up.
    expect(registry.requests.map((request) => request.path)).toEqual([path]);
    registry.misbehave({
      do: { status: 200, body: { schemaVersion: 2, manifests: [SBOM, SIGNATURE].map(describe_) } },
    });
    const two = await source.referrers(IMAGE.digest, { artifactTypes: ['a/b', 'application/x.signature'] });
    expect(digestsOf(two)).toEqual([SIGNATURE.digest]);
    expect(registry.requests.at(-1)?.path).not.toContain('?');
  });

  test('is retried after a temporary failure', async () => {
    await using registry = await registryWith();
    await using sources = testSources();
    registry.misbehave({ match: { kind: 'referrers' }, times: 1, do: { status: 502 } });
    expect(digestsOf(await sources.at(registry.host).referrers(IMAGE.digest))).toEqual(ALL);
  });

  test('is not asked again for ten minutes after all tries have failed', async () => {
    await using registry = await registryWith();
    await using sources = testSources();
    const source = sources.at(registry.host);
    const rule = registry.misbehave({ match: { kind: 'referrers' }, do: { status: 500 } });
    await failureOf(source.referrers(IMAGE.digest), 'unavailable');
    expect(registry.count({ kind: 'referrers' })).toBe(3);
    expect(await source.referrers(IMAGE.digest)).toEqual({
      manifests: [],
      notes: [`the referrers API fails (${registry.host} answered 500); referrers without a tag are not mirrored`],
    });
    expect(registry.count({ kind: 'referrers' })).toBe(3);
    rule.stop();
    sources.advance(10 * 60_000);
    expect(digestsOf(await source.referrers(IMAGE.digest))).toEqual(ALL);
  });
});

describe('a further page of a list', () => {
  test.each([
    [404, '404 page not found', 'text/plain'],
    [404, errorBody('MANIFEST_UNKNOWN', 'no'), 'application/json'],
    [403, errorBody('DENIED', 'no'), 'application/json'],
    [400, '', 'text/plain'],
    [200, '<html>', 'text/html'],
    [200, '{}', 'application/json'],
    [200, '<html>', MEDIA_TYPES.ociIndex],
  ])('that is refused with %i (%o, %s) is noted, and the referrers so far are kept', async (status, body, type) => {
    await using registry = await registryWith({ referrersPageSize: 1 });
    await using sources = testSources();
    const headers = { 'content-type': type };
    registry.misbehave({ match: { kind: 'referrers' }, after: 1, times: 1, do: { status, body, headers } });
    const source = sources.at(registry.host);
    const found = await source.referrers(IMAGE.digest);
    expect(digestsOf(found)).toEqual([SBOM.digest]);
    expect(found.notes).toEqual([
      expect.stringMatching(/^a further page of the list of referrers cannot be read, so others may be missing: /),
    ]);
    expect(digestsOf(await source.referrers(IMAGE.digest))).toEqual(ALL);
  });

  test('that fails for now fails the whole list, which is requested again', async () => {
    await using registry = await registryWith({ referrersPageSize: 1 });
    await using sources = testSources();
    const rule = registry.misbehave({ match: { kind: 'referrers' }, after: 1, do: { status: 500 } });
    const source = sources.at(registry.host);
    await failureOf(source.referrers(IMAGE.digest), 'unavailable');
    rule.stop();
    expect(digestsOf(await source.referrers(IMAGE.digest))).toEqual(ALL);
  });
});

describe('a registry that has the referrers API for a part of its content', () => {
  const OTHER = 'old/app';

  test.each([404, 405, 500])(
    'serves the lists of a repository after it has answered %i for another',
    async (status) => {
      await using registry = await registryWith();
      await using sources = testSources();
      registry.push(OTHER, IMAGE);
      registry.misbehave({ match: { kind: 'referrers', repository: OTHER }, do: { status, body: '' } });
      const other = sources.at(registry.host, OTHER);
      if (status === 500) await failureOf(other.referrers(IMAGE.digest), 'unavailable');
      else expect(digestsOf(await other.referrers(IMAGE.digest))).toEqual([]);
      expect(digestsOf(await sources.at(registry.host).referrers(IMAGE.digest))).toEqual(ALL);
    },
  );

  test.each([
    [400, '', {}],
    [406, '', {}],
    [200, '<html>', { 'content-type': 'text/html' }],
    [200, '{}', { 'content-type': 'application/json' }],
  ])('serves the lists of other manifests after it has answered %i (%o) for one', async (status, body, headers) => {
    await using registry = await registryWith();
    await using sources = testSources();
    registry.misbehave({ match: { kind: 'referrers', digest: SBOM.digest }, do: { status, body, headers } });
    const source = sources.at(registry.host);
    for (let time = 0; time < 4; time += 1) await source.referrers(SBOM.digest);
    expect(digestsOf(await source.referrers(IMAGE.digest))).toEqual(ALL);
  });

  test('serves further lists of a repository after a 404 for one of them', async () => {
    await using registry = await registryWith();
    await using sources = testSources();
    const source = sources.at(registry.host);
    await source.referrers(SIGNATURE.digest);
    registry.misbehave({ match: { kind: 'referrers', digest: SBOM.digest }, do: { status: 404, body: '' } });
    await source.referrers(SBOM.digest);
    expect(digestsOf(await source.referrers(IMAGE.digest))).toEqual(ALL);
  });
});

function describe_({ descriptor }: { readonly descriptor: object }): object {
  const artifactType = descriptor === SBOM.descriptor ? 'application/spdx+json' : 'application/x.signature';
  return { ...descriptor, artifactType };
}

describe('a registry without the referrers API', () => {
  test.each([
    [404, '404 page not found'],
    [404, errorBody('NOT_FOUND', 'no such page')],
    [400, errorBody('NAME_INVALID', 'invalid name')],
    [405, ''],
    [406, '{}'],
    [410, ''],
    [501, ''],
    [403, errorBody('DENIED', 'no')],
    [401, '<html>'],
    [200, '<html>'],
  ])('is recognised by a response of %i (%o), and read by its tag schema', async (status, body) => {
    await using registry = await registryWithTagSchema();
    await using sources = testSources();
    const headers = { 'content-type': 'text/html' };
    registry.misbehave({ match: { kind: 'referrers' }, do: { status, body, headers } });
    const found = await sources.at(registry.host).referrers(IMAGE.digest);
    expect(digestsOf(found)).toEqual(ALL);
    expect(found.notes).toEqual([]);
  });

  test.each([
    ['application/json', '{}'],
    ['application/json', '{"errors":[{"code":"UNSUPPORTED"}]}'],
    ['application/json', '{"data":{"manifests":[]}}'],
    ['application/json', '[]'],
    ['', ''],
  ])('is recognised by a successful response of type %o without a list (%o)', async (type, body) => {
    await using registry = await registryWithTagSchema();
    await using sources = testSources();
    const headers = { 'content-type': type };
    registry.misbehave({ match: { kind: 'referrers' }, do: { status: 200, body, headers } });
    expect(await sources.at(registry.host).referrers(IMAGE.digest)).toMatchObject({
      manifests: { length: 2 },
      notes: [],
    });
  });

  test('may have a list of the type of Docker under the tag of the schema', async () => {
    await using registry = await registryWith({ referrers: false });
    await using sources = testSources();
    registry.push(REPOSITORY, makeIndex([SBOM, SIGNATURE], 'docker'), SCHEMA_TAG);
    const found = await sources.at(registry.host).referrers(IMAGE.digest);
    expect([digestsOf(found), found.notes]).toEqual([ALL, []]);
  });

  test('is not taken for a server of another kind because it has no /v2/', async () => {
    await using registry = await registryWithTagSchema();
    await using sources = testSources();
    const source = sources.at(registry.host);
    for (const kind of ['ping', 'tags', 'referrers'] as const)
      registry.misbehave({ match: { kind }, do: { status: 404, body: '' } });
    registry.misbehave({ match: { kind: 'manifest', tag: SCHEMA_TAG }, do: { status: 404, body: '' } });
    await source.resolve('latest');
    expect((await source.referrers(IMAGE.digest)).notes).toEqual([]);
  });

  test('costs one request to learn that, one for its challenge, one list of tags, and one for each tag of a referrer', async () => {
    await using registry = await registryWithTagSchema();
    await using sources = testSources();
    const source = sources.at(registry.host);
    expect(digestsOf(await source.referrers(IMAGE.digest))).toEqual(ALL);
    expect(requestsOf(registry)).toEqual(['GET referrers', 'GET ping', 'GET tags', 'GET manifest']);
    for (const { digest } of [SBOM, SIGNATURE]) expect((await source.referrers(digest)).manifests).toEqual([]);
    expect(registry.requests).toHaveLength(4);
    // The next repository of the registry needs its own list of tags.
    await source.referrers(IMAGE.digest);
    expect(registry.count({ kind: 'referrers' })).toBe(1);
  });

  test('is asked for its API again after an hour', async () => {
    await using registry = await registryWithTagSchema();
    await using sources = testSources();
    const source = sources.at(registry.host);
    await source.referrers(IMAGE.digest);
    sources.advance(60 * 60_000);
    await source.referrers(IMAGE.digest);
    expect(registry.count({ kind: 'referrers' })).toBe(2);
  });

  test('is not asked again after it has answered 400 for three manifests of a repository', async () => {
    await using registry = await registryWithTagSchema();
    await using sources = testSources();
    const source = sources.at(registry.host);
    registry.misbehave({ match: { kind: 'referrers' }, do: { status: 400, body: '' } });
    for (const { digest } of [IMAGE, SBOM, SIGNATURE, COSIGN]) await source.referrers(digest);
    expect(digestsOf(await source.referrers(IMAGE.digest))).toEqual(ALL);
    expect(registry.count({ kind: 'referrers' })).toBe(3);
  });

  test('is asked for its API per manifest after an error about content', async () => {
    await using registry = await registryWithTagSchema();
    await using sources = testSources();
    const source = sources.at(registry.host);
    const body = errorBody('MANIFEST_UNKNOWN', 'manifest unknown');
    registry.misbehave({ match: { kind: 'referrers' }, do: { status: 404, body } });
    await source.referrers(IMAGE.digest);
    await source.referrers(IMAGE.digest);
    expect(registry.count({ kind: 'referrers' })).toBe(2);
  });

  test('may have another manifest under the tag of the schema, which lists nothing', async () => {
    await using registry = await registryWith({ referrers: false });
    await using sources = testSources();
    registry.tag(REPOSITORY, SCHEMA_TAG, IMAGE.digest);
    const { manifests, notes } = await sources.at(registry.host).referrers(IMAGE.digest);
    expect(manifests).toEqual([]);
    expect(notes).toEqual([expect.stringContaining(`tag ${SCHEMA_TAG} is not a list of referrers`)]);
  });
});

describe("cosign's tags", () => {
  test.each([true, false])('are referrers, with the API (%o) and without', async (referrers) => {
    await using registry = await registryWith({ referrers });
    await using sources = testSources();
    registry.push(REPOSITORY, COSIGN, SIG);
    registry.push(REPOSITORY, SBOM, SBOM_TAG);
    registry.forgetRequests();
    const { manifests } = await sources.at(registry.host).referrers(IMAGE.digest);
    expect(manifests.filter(({ tag }) => tag !== undefined)).toEqual([
      expect.objectContaining({
        tag: SIG,
        digest: COSIGN.digest,
        artifactType: 'application/vnd.dev.cosign.artifact.sig.v1+json',
      }),
      expect.objectContaining({ tag: SBOM_TAG, digest: SBOM.digest }),
    ]);
    const content = requestsOf(registry).filter((request) => request !== 'GET ping');
    expect(content).toEqual(['GET referrers', 'GET tags', 'HEAD manifest', 'HEAD manifest']);
  });

  test.each([
    ['that the list of tags has', 200],
    ['although the tags cannot be listed', 403],
  ])('are found by a registry that answers 404 to every HEAD, %s', async (_, status) => {
    await using registry = await registryWith();
    await using sources = testSources();
    registry.push(REPOSITORY, COSIGN, ATT);
    registry.misbehave({ match: { method: 'HEAD' }, do: { status: 404, body: '' } });
    if (status !== 200) registry.misbehave({ match: { kind: 'tags' }, do: { status, body: '{}' } });
    const source = sources.at(registry.host);
    expect(digestsOf(await source.referrers(IMAGE.digest))).toEqual([...ALL, COSIGN.digest]);
    registry.forgetRequests();
    await source.resolve('latest');
    expect(requestsOf(registry)).toEqual(['GET manifest']);
  });

  test('are listed without their manifests by a registry without HEAD, so that no manifest stays in memory', async () => {
    await using registry = await registryWith();
    await using sources = testSources();
    registry.push(REPOSITORY, COSIGN, SIG);
    registry.misbehave({ match: { method: 'HEAD' }, do: { status: 405, body: '' } });
    const { manifests } = await sources.at(registry.host).referrers(IMAGE.digest);
    const { digest, mediaType } = COSIGN;
    const artifactType = 'application/vnd.dev.cosign.artifact.sig.v1+json';
    expect(manifests.find(({ tag }) => tag === SIG)).toEqual({ digest, mediaType, tag: SIG, artifactType });
  });

  test('are found by a registry whose HEAD misses a tag that it lists', async () => {
    await using registry = await registryWith();
    await using sources = testSources();
    registry.push(REPOSITORY, COSIGN, ATT);
    const source = sources.at(registry.host);
    await source.resolve('latest');
    registry.misbehave({ match: { method: 'HEAD' }, do: { status: 404, body: '' } });
    expect(digestsOf(await source.referrers(IMAGE.digest))).toEqual([...ALL, COSIGN.digest]);
  });

  test('are probed if the tags cannot be listed', async () => {
    await using registry = await registryWith();
    await using sources = testSources();
    registry.push(REPOSITORY, COSIGN, ATT);
    registry.misbehave({ match: { kind: 'tags' }, do: { status: 403, body: errorBody('DENIED', 'no') } });
    const source = sources.at(registry.host);
    await source.resolve('latest');
    registry.forgetRequests();
    expect(digestsOf(await source.referrers(IMAGE.digest))).toEqual([...ALL, COSIGN.digest]);
    await source.referrers(SBOM.digest);
    expect(requestsOf(registry)).toEqual([
      ...['GET referrers', 'GET tags', 'GET ping', 'HEAD manifest', 'HEAD manifest', 'HEAD manifest'],
      ...['GET referrers', 'HEAD manifest', 'HEAD manifest', 'HEAD manifest'],
    ]);
  });

  test('of a repository with many tags are probed until a list costs fewer requests', async () => {
    await using registry = await registryWith({ pageSize: 100 });
    await using sources = testSources();
    for (let tag = 0; tag < 650; tag += 1) registry.tag(REPOSITORY, `v${tag}`, IMAGE.digest);
    const source = sources.at(registry.host);
    await source.resolve('latest');
    registry.forgetRequests();
    await source.referrers(IMAGE.digest);
    expect([registry.count({ kind: 'tags' }), registry.count({ kind: 'manifest' })]).toEqual([4, 3]);
    await source.referrers(SBOM.digest);
    await source.referrers(SIGNATURE.digest);
    expect([registry.count({ kind: 'tags' }), registry.count({ kind: 'manifest' })]).toEqual([7, 3]);
  });

  test('are known from a list of all tags that was read to its end', async () => {
    await using registry = await registryWith({ pageSize: 1 });
    await using sources = testSources();
    registry.push(REPOSITORY, COSIGN, ATT);
    const source = sources.at(registry.host);
    for await (const [tag] of source.tags()) expect(tag).toBeTruthy();
    for (const _ of [1, 2]) expect(digestsOf(await source.referrers(IMAGE.digest))).toEqual([...ALL, COSIGN.digest]);
    expect([registry.count({ kind: 'tags' }), registry.count({ kind: 'manifest' })]).toEqual([2, 2]);
  });

  test('are listed if a list of all tags was not read to its end', async () => {
    await using registry = await registryWith({ pageSize: 1 });
    await using sources = testSources();
    registry.push(REPOSITORY, COSIGN, ATT);
    const source = sources.at(registry.host);
    for await (const _ of source.tags()) break;
    expect(digestsOf(await source.referrers(IMAGE.digest))).toEqual([...ALL, COSIGN.digest]);
    expect([registry.count({ kind: 'tags' }), registry.count({ kind: 'manifest' })]).toEqual([3, 1]);
    // The list of another caller stays known.
    for await (const _ of source.tags()) break;
    await source.referrers(IMAGE.digest);
    expect(registry.count({ kind: 'tags' })).toBe(4);
  });

  test('are awaited while all tags are listed, and requested one by one if that ends early', async () => {
    for (const isWhole of [true, false]) {
      const pages = async function* (): AsyncGenerator<readonly string[]> {
        yield await Promise.resolve(['v1', SIG]);
        yield [ATT];
      };
      const shared: (KnownTags | undefined)[] = [];
      const listed = sharingTags(pages(), 7, (tags) => shared.push(tags));
      await listed.next();
      const has = shared[0]!.has();
      if (isWhole) for await (const page of listed) expect(page).toEqual([ATT]);
      else await listed.return();
      expect(shared[0]!.since).toBe(7);
      const isThere = await has;
      expect([SIG, ATT, SBOM_TAG].map((tag) => isThere?.(tag))).toEqual(
        isWhole ? [true, true, false] : [undefined, undefined, undefined],
      );
      expect(shared.slice(1)).toEqual(isWhole ? [] : [undefined]);
    }
  });

  test('are listed again after five minutes, and for a fresh query', async () => {
    await using registry = await registryWith();
    await using sources = testSources();
    const source = sources.at(registry.host);
    await source.referrers(IMAGE.digest);
    registry.push(REPOSITORY, COSIGN, SIG);
    expect(digestsOf(await source.referrers(IMAGE.digest))).toEqual(ALL);
    expect(digestsOf(await source.referrers(IMAGE.digest, { fresh: true }))).toContain(COSIGN.digest);
    registry.push(REPOSITORY, COSIGN, ATT);
    sources.advance(5 * 60_000);
    expect(await source.referrers(IMAGE.digest)).toMatchObject({ manifests: { length: 4 } });
  });
});

describe('a hostile list', () => {
  async function listed(body: unknown, headers: Record<string, string> = {}): Promise<Referrers> {
    await using registry = await registryWith();
    await using sources = testSources();
    const type = { 'content-type': MEDIA_TYPES.ociIndex, ...headers };
    registry.misbehave({ match: { kind: 'referrers' }, do: { status: 200, body: body as object, headers: type } });
    return await sources.at(registry.host).referrers(IMAGE.digest);
  }

  const good = SBOM.descriptor;

  test('that names its subject does not make it a referrer of itself', async () => {
    expect(digestsOf(await listed({ manifests: [IMAGE.descriptor, good, good] }))).toEqual([SBOM.digest]);
  });

  test.each([
    ['a digest that is not one', { ...good, digest: 'sha256:123' }],
    ['a blob', { ...good, digest: IMAGE.digest.replace(/.$/, '0'), mediaType: 'application/octet-stream' }],
    ['a size above the limit of a manifest', { ...good, size: 5 * 1024 * 1024 }],
    ['a negative size', { ...good, size: -1 }],
    ['a number', 7],
    ['a key that differs in case', { ...good, Digest: IMAGE.digest }],
  ])('with %s hides no other referrer', async (_, wrong) => {
    const { manifests, notes } = await listed({ manifests: [wrong, SIGNATURE.descriptor] });
    expect(manifests.map(({ digest }) => digest)).toEqual([SIGNATURE.digest]);
    expect(notes).toEqual(['1 referrer cannot be mirrored: the list does not describe a manifest']);
  });

  test('of more than a thousand referrers is cut, with a note', async () => {
    const many = Array.from({ length: 1_500 }, (_, n) => ({
      ...good,
      digest: `sha256:${String(n).padStart(64, '0')}`,
    }));
    const { manifests, notes } = await listed({ manifests: many });
    expect(manifests).toHaveLength(1_000);
    expect(notes).toEqual(['upstream lists more than 1000 referrers; the others are not mirrored']);
  });

  test('with types of more than 256 characters keeps neither', async () => {
    const [long, other] = ['x'.repeat(257), `sha256:${'1'.repeat(64)}`];

    const { manifests, notes } = await listed({
      manifests: [
        { ...good, artifactType: `a/${long}` },
        { ...good, digest: other, mediaType: `${good.mediaType};${long}` },
      ],
    });
    expect(manifests).toEqual([expect.objectContaining({ digest: good.digest })]);
    expect(manifests[0]).not.toHaveProperty('artifactType');
    expect(notes).toEqual(['1 referrer cannot be mirrored: the list does not describe a manifest']);
  });

  test('that repeats its pages ends, with a note', async () => {
    const { manifests, notes } = await listed({ manifests: [good] }, { link: '<?page=2>; rel="next"' });
    expect(manifests).toHaveLength(1);
    expect(notes).toEqual([expect.stringContaining('repeats a page of the list of referrers')]);
  });

  test('with a link that cannot be read ends, with a note', async () => {
    const { manifests, notes } = await listed({ manifests: [good] }, { link: '<?page=2' });
    expect(manifests).toHaveLength(1);
    expect(notes).toEqual([expect.stringContaining('without the query of the next page of referrers')]);
  });

  test('of endless pages ends after fifty, with a note', async () => {
    await using registry = await registryWith();
    await using sources = testSources();
    for (let page = 0; page < 60; page += 1) {
      const link = `<?page=${page}>; rel="next"`;
      registry.misbehave({ match: { kind: 'referrers' }, after: page, times: 1, do: { headers: { link } } });
    }
    const { notes } = await sources.at(registry.host).referrers(IMAGE.digest);
    expect(notes).toEqual(['upstream lists its referrers on more than 50 pages; the others are not mirrored']);
    expect(registry.count({ kind: 'referrers' })).toBe(50);
  });

  test.each([['<html>'], ['[]'], [{ manifests: {} }], [{ manifests: 7 }]])('%o is refused', async (body) => {
    const failure = await failureOf(listed(body), 'invalid');
    expect(failure.message).toContain(`list referrers of `);
    expect(failure.detail).toContain('the list of referrers is invalid');
  });

  test('of more than 4 MiB is refused', async () => {
    await failureOf(listed({ padding: 'x'.repeat(4 * 1024 * 1024), manifests: [] }), 'too-large');
  });

  test.each([[{}], [{ manifests: null }]])('%o is an empty one', async (body) => {
    expect(await listed(body)).toEqual({ manifests: [], notes: [] });
  });

  test.each([['{"manifests":[],"manifests":[]}'], ['{"manifests":7}']])(
    '%o is refused as JSON as well',
    async (body) => {
      await failureOf(listed(body, { 'content-type': 'application/json' }), 'invalid');
    },
  );

  test('as JSON is a list', async () => {
    for (const manifests of [[good], null]) {
      const found = await listed({ manifests }, { 'content-type': 'application/json' });
      expect(found).toMatchObject({ manifests: { length: manifests?.length ?? 0 }, notes: [] });
    }
  });
});

test('the tags of referrers name their subject', () => {
  const digest = IMAGE.digest;
  expect([SCHEMA_TAG, SIG, ATT, SBOM_TAG].map(subjectOfTag)).toEqual([digest, digest, digest, digest]);
  expect(SIG).toBe(`sha256-${digest.slice('sha256:'.length)}.sig`);
  for (const tag of ['latest', `${SIG}x`, SCHEMA_TAG.slice(0, -1), `${SCHEMA_TAG}0`, SCHEMA_TAG.toUpperCase()])
    expect(subjectOfTag(tag)).toBeUndefined();
  const long = `sha512:${'a'.repeat(128)}` as typeof digest;
  expect(referrersTag(long)).toBe(`sha512-${'a'.repeat(64)}`);
  expect(subjectOfTag(referrersTag(long))).toBeUndefined();
  expect(cosignTags(long)).toEqual([]);
});
