import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { digestOf, type Digest } from '../../../lib/oci/digest.ts';
import { parseManifest, type Schema1Manifest } from '../../../lib/oci/manifest.ts';
import { MEDIA_TYPES } from '../../../lib/oci/mediatype.ts';
import { imageConfigFromSchema1 } from '../../../lib/oci/schema1-config.ts';
import { signedPayload } from '../../../lib/oci/schema1.ts';
import { bytesOf, DIGEST, failureOf, onlyFailures, OTHER_DIGEST } from './arbitraries.ts';

interface Step {
  readonly id: string;
  readonly parent?: string;
  readonly [key: string]: unknown;
}

const id = (digit: string): string => digit.repeat(64);
const BASE: Step = {
  id: id('a'),
  created: '2015-10-01T12:00:00Z',
  container_config: { Cmd: ['/bin/sh', '-c', '#(nop) ADD file:1 in /'] },
};
const EMPTY: Step = {
  id: id('b'),
  parent: id('a'),
  created: '2015-10-02T12:00:00Z',
  author: 'A & B <a@example.com>',
  container_config: { Cmd: ['CMD ["sh"]'] },
  throwaway: true,
};
const TOP: Step = {
  id: id('c'),
  parent: id('b'),
  comment: 'the last',
  created: '2015-10-03T12:00:00Z',
  architecture: 'amd64',
  os: 'linux',
  docker_version: '1.9.1',
  config: { Env: ['PATH=/bin'], Cmd: ['sh', '-c', 'a && b'] },
  container_config: { Cmd: null },
  Size: 1234,
  custom: 1,
};

/** A manifest of these steps, from the base up. The document has the newest step first. */
function documentOf(steps: readonly object[], changes: object = {}): object {
  const newestFirst = [...steps].reverse();
  return {
    schemaVersion: 1,
    name: 'library/old',
    tag: 'latest',
    architecture: 'amd64',
    fsLayers: newestFirst.map((step) => ({ blobSum: digestOf(bytesOf(step)) })),
    history: newestFirst.map((step) => ({ v1Compatibility: JSON.stringify(step) })),
    ...changes,
  };
}

const base64url = (text: string): string => Buffer.from(text).toString('base64url');

/**
 * Signs as libtrust does: the signatures go before the closing brace, and the protected header records that position.
 */
function sign(payload: string, headers: object[] = [{}]): Uint8Array {
  const formatLength = payload.lastIndexOf('\n}');
  const signatures = headers.map((header) => ({
    header: { alg: 'ES256' },
    signature: 'c2ln',
    protected: base64url(JSON.stringify({ formatLength, formatTail: base64url('\n}'), time: 'now', ...header })),
  }));
  return bytesOf(`${payload.slice(0, formatLength)},\n   "signatures": ${JSON.stringify(signatures)}\n}`);
}

const pretty = (document: object): string => JSON.stringify(document, null, 3);
const parse = (steps: readonly object[], changes?: object): Schema1Manifest =>
  parseManifest(bytesOf(documentOf(steps, changes)), MEDIA_TYPES.schema1) as Schema1Manifest;

describe('schema 1 manifest', () => {
  test('lists its layers from the base up, with the v1Compatibility of each', () => {
    const manifest = parse([BASE, EMPTY, TOP]);
    expect(manifest).toMatchObject({
      kind: 'schema1',
      mediaType: MEDIA_TYPES.schema1,
      name: 'library/old',
      tag: 'latest',
      architecture: 'amd64',
    });
    expect(manifest.layers.map(({ digest, throwaway, v1 }) => ({ digest, throwaway, v1 }))).toEqual([
      { digest: digestOf(bytesOf(BASE)), throwaway: false, v1: BASE },
      { digest: digestOf(bytesOf(EMPTY)), throwaway: true, v1: EMPTY },
      { digest: digestOf(bytesOf(TOP)), throwaway: false, v1: TOP },
    ]);
  });

  // Its digest covers the signed text, so another signature must not change it.
  test('has the payload from before its signature', () => {
    const payload = pretty(documentOf([BASE, { ...TOP, parent: id('a') }]));
    const signed = sign(payload, [{}, { time: 'later' }]);
    const manifest = parseManifest(signed, `${MEDIA_TYPES.schema1Signed}; charset=utf-8`) as Schema1Manifest;
    expect(new TextDecoder().decode(manifest.payload)).toBe(payload);
    expect(signedPayload(signed)).toEqual(manifest.payload);
    expect(manifest.mediaType).toBe(MEDIA_TYPES.schema1Signed);
    expect(manifest.layers).toHaveLength(2);
    for (const declared of ['application/json', 'text/plain', MEDIA_TYPES.schema1])
      expect(parseManifest(signed, declared)).toEqual(manifest);
  });

  test('is its own payload if it is not signed', () => {
    const bytes = bytesOf(documentOf([BASE]));
    expect(signedPayload(bytes)).toBe(bytes);
    expect((parseManifest(bytes) as Schema1Manifest).payload).toBe(bytes);
    expect((parseManifest(bytesOf(documentOf([BASE], { signatures: [] }))) as Schema1Manifest).mediaType).toBe(
      MEDIA_TYPES.schema1,
    );
    expect(failureOf(() => parseManifest(bytes, MEDIA_TYPES.schema1Signed))).toMatchObject({ code: 'not-as-declared' });
  });

  // The digest covers only the payload.
  test('is read only from its payload if it is signed', () => {
    const evil = { ...documentOf([{ id: id('e') }]), name: 'evil' };
    const good = pretty(documentOf([BASE]));
    const signature = { protected: base64url(JSON.stringify({ formatLength: 0, formatTail: base64url(good) })) };
    const manifest = parseManifest(bytesOf({ ...evil, signatures: [signature] })) as Schema1Manifest;
    expect(manifest.name).toBe('library/old');
    expect(manifest.layers[0]?.v1).toEqual(BASE);

    const index = base64url(JSON.stringify({ schemaVersion: 1, manifests: [], ...documentOf([BASE]) }));
    const confused = { protected: base64url(JSON.stringify({ formatLength: 0, formatTail: index })) };
    expect(failureOf(() => parseManifest(bytesOf({ ...evil, signatures: [confused] }))).message).toContain(
      'parse signed payload of manifest: it has manifests and fsLayers',
    );
  });

  test.each<[object[], string]>([
    [[{}, { formatLength: 1 }], 'signatures[1]: is of another payload than the first'],
    [[{}, { formatTail: base64url('\n }') }], 'signatures[1]: is of another payload than the first'],
    [[{ formatLength: 1_000_000 }], 'signs 1000000 bytes, and the manifest has'],
    [[{ formatLength: -1 }], 'signatures[0].protected.formatLength: must be a whole number'],
    [[{ formatLength: '7' }], 'signatures[0].protected.formatLength: must be a whole number'],
    [[{ formatTail: '!' }], 'signatures[0].protected.formatTail: must be base64url'],
    [[{ formatTail: null }], 'signatures[0].protected.formatTail: must be a string'],
    [[{ formatLength: 30 }], 'parse signed payload of manifest: is not JSON'],
    [Array<object>(33).fill({}), 'signatures: expected at most 32 elements, got 33'],
  ])('a signature with %j is refused: %s', (headers, detail) => {
    expect(failureOf(() => parseManifest(sign(pretty(documentOf([BASE])), headers))).message).toContain(detail);
  });

  test.each([
    [{ signatures: 'x' }, 'signatures: must be an array'],
    [{ signatures: [null] }, 'signatures[0]: must be an object, not null'],
    [{ signatures: [{}] }, 'signatures[0].protected: is missing'],
    [{ signatures: [{ protected: '****' }] }, 'signatures[0].protected: must be base64url'],
    [{ signatures: [{ protected: '_w' }] }, 'signatures[0].protected: is not UTF-8'],
    [{ signatures: [{ protected: base64url('[') }] }, 'signatures[0].protected: is not JSON'],
    [{ schemaVersion: 2 }, 'schemaVersion: must be 1'],
    [{ fsLayers: [], history: [] }, 'fsLayers is empty'],
    [{ fsLayers: [] }, 'fsLayers has 0 elements and history 1'],
    [{ history: [] }, 'fsLayers has 1 elements and history 0'],
    [{ history: undefined }, 'history: is missing'],
    [{ history: [{}] }, 'history[0].v1Compatibility: is missing'],
    [{ history: [{ v1Compatibility: '{' }] }, 'history[0].v1Compatibility: is not JSON'],
    [{ history: [{ v1Compatibility: '[]' }] }, 'history[0].v1Compatibility: must be an object'],
    [{ fsLayers: [{ blobSum: 'sha256:x' }] }, 'fsLayers[0].blobSum: "sha256:x" has 1 characters'],
    [{ fsLayers: Array(1025).fill({ blobSum: DIGEST }) }, 'fsLayers: expected at most 1024 elements, got 1025'],
  ])('%j is refused: %s', (changes, detail) => {
    const bytes = bytesOf(documentOf([BASE], changes));
    expect(failureOf(() => parseManifest(bytes, MEDIA_TYPES.schema1)).detail).toContain(detail);
  });

  // These are the checks of Docker on the chain of parents.
  test.each([
    [[{ ...BASE, id: 'A'.repeat(64) }], 'history[0].v1Compatibility.id: must be 64 hex digits'],
    [[{ ...BASE, id: '../x' }], 'must be 64 hex digits, not "../x"'],
    [[{ ...BASE, id: undefined }], 'id: is missing'],
    [[EMPTY], 'parent: must not be set in the base layer'],
    [[BASE, TOP], `parent: must be ${id('a')}, the id of the layer below, not "${id('b')}"`],
    [[BASE, { ...EMPTY, parent: undefined }], `parent: must be ${id('a')}`],
    [[BASE, EMPTY, { ...TOP, id: id('a') }], `the id ${id('a')} appears twice`],
    [[{ ...BASE, throwaway: 'yes' }], 'throwaway: must be true or false'],
    [[{ ...BASE, created: 7 }], 'created: must be a string, not 7'],
    [[{ ...BASE, container_config: { Cmd: [{ toString: 1 }] } }], 'container_config.Cmd[0]: must be a string'],
    [[{ ...BASE, container_config: 'sh' }], 'container_config: must be an object'],
  ])('the layers %j are refused: %s', (steps, detail) => {
    expect(failureOf(() => parse(steps as Step[])).detail).toContain(detail);
  });

  // Docker 1.9 and older pushed some layers twice.
  test('keeps the lowest of consecutive layers with the same id', () => {
    const again = { ...EMPTY, comment: 'again' };
    expect(parse([BASE, EMPTY, again, again, TOP]).layers.map(({ v1 }) => v1)).toEqual([BASE, EMPTY, TOP]);
    expect(parse([BASE, { ...BASE, comment: 'again' }]).layers.map(({ v1 }) => v1)).toEqual([BASE]);
  });

  test('accepts a Windows base layer whose parent exists only on the host', () => {
    expect(parse([{ ...BASE, parent: id('f'), os: 'windows' }]).layers).toHaveLength(1);
    expect(failureOf(() => parse([{ ...BASE, parent: id('f'), os: 'linux' }])).detail).toContain('must not be set');
  });

  test('parsing arbitrary text throws only Failures', () => {
    const step = fc.record(
      {
        id: fc.oneof(fc.constantFrom(id('a'), id('b')), fc.jsonValue()),
        parent: fc.oneof(fc.constantFrom(id('a'), id('b')), fc.jsonValue()),
        container_config: fc.oneof(fc.record({ Cmd: fc.jsonValue() }), fc.jsonValue()),
        created: fc.jsonValue(),
        docker_version: fc.jsonValue(),
        throwaway: fc.jsonValue(),
      },
      { requiredKeys: [] },
    );
    const documents = fc
      .tuple(
        fc.array(step, { maxLength: 3 }),
        fc.dictionary(fc.constantFrom('signatures', 'name', 'tag'), fc.jsonValue()),
      )
      .map(([steps, changes]) => documentOf([BASE, ...steps], changes));
    const header = fc.record({ formatLength: fc.oneof(fc.nat(2000), fc.jsonValue()), formatTail: fc.jsonValue() });
    const signed = fc
      .array(header, { minLength: 1, maxLength: 2 })
      .map((headers) => sign(pretty(documentOf([BASE])), headers));
    fc.assert(
      fc.property(fc.oneof(documents.map(bytesOf), signed), (bytes) => {
        onlyFailures(() => signedPayload(bytes));
        onlyFailures(() => {
          const manifest = parseManifest(bytes);
          if (manifest.kind !== 'schema1') throw new Error(`took it for an ${manifest.kind}`);
          const diffIds = manifest.layers.filter(({ throwaway }) => !throwaway).map(() => DIGEST);
          JSON.parse(new TextDecoder().decode(imageConfigFromSchema1(manifest, diffIds)));
        });
      }),
      { numRuns: 500 },
    );
  });
});

describe('image config of a schema 1 image', () => {
  const text = (manifest: Schema1Manifest, diffIds: Digest[]): string =>
    new TextDecoder().decode(imageConfigFromSchema1(manifest, diffIds));

  // moby 1.10 and later build the same bytes: keys are sorted, the history starts at the base, and `<`, `>` and `&`
  // are escaped.
  test('is the config of the newest layer with the history of all layers', () => {
    expect(text(parse([BASE, EMPTY, TOP]), [DIGEST, OTHER_DIGEST])).toBe(
      [
        '{"architecture":"amd64","comment":"the last",',
        '"config":{"Env":["PATH=/bin"],"Cmd":["sh","-c","a \\u0026\\u0026 b"]},"container_config":{"Cmd":null},',
        '"created":"2015-10-03T12:00:00Z","custom":1,"docker_version":"1.9.1",',
        '"history":[{"created":"2015-10-01T12:00:00Z","created_by":"/bin/sh -c #(nop) ADD file:1 in /"},',
        '{"created":"2015-10-02T12:00:00Z","author":"A \\u0026 B \\u003ca@example.com\\u003e",',
        '"created_by":"CMD [\\"sh\\"]","empty_layer":true},',
        '{"created":"2015-10-03T12:00:00Z","comment":"the last"}],',
        `"os":"linux","rootfs":{"type":"layers","diff_ids":["${DIGEST}","${OTHER_DIGEST}"]}}`,
      ].join(''),
    );
  });

  // Before Docker 1.8.3 a config could contain any field, and moby keeps only those that it knows.
  test.each([
    ['1.8.2', false],
    ['1.8.3-rc1', false],
    ['', false],
    ['1.8.3', true],
    ['1.10', true],
    ['17.03.0-ce', true],
  ])('keeps unknown fields of Docker %j: %s', (version, kept) => {
    const config = JSON.parse(
      text(parse([{ ...BASE, ...TOP, parent: undefined, docker_version: version }]), [DIGEST]),
    ) as object;
    expect('custom' in config).toBe(kept);
    expect(config).toMatchObject({ architecture: 'amd64', config: { Env: ['PATH=/bin'] } });
    expect(config).not.toHaveProperty('id');
    expect(config).not.toHaveProperty('Size');
  });

  test('has one diffID for every layer that is not throwaway', () => {
    const manifest = parse([BASE, EMPTY, TOP]);
    for (const diffIds of [[], [DIGEST], [DIGEST, DIGEST, DIGEST]])
      expect(failureOf(() => imageConfigFromSchema1(manifest, diffIds))).toMatchObject({
        code: 'layers-mismatch',
        message: `make image config from schema 1: ${diffIds.length} diffIDs for 2 layers`,
      });
  });
});
