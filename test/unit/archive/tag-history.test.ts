import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Archive } from '../../../lib/archive/archive.ts';
import { ociLayout } from '../../../lib/archive/oci-layout.ts';
import { ANNOTATIONS, type TagChange, TagIndex } from '../../../lib/archive/tag-index/tag-index.ts';
import { withDecisionIn } from '../../../lib/archive/tag-index/withheld.ts';
import { MemoryStore } from '../../kit/memory-store.ts';
import { after, digest, history, saw, MEDIA_TYPE } from './observations.ts';

const FORMAT = 'dev.mirror-sync.format';
const day = (text: string): number => Date.parse(`${text}T00:00:00.000Z`);

interface Document {
  annotations?: Record<string, string>;
  manifests: { digest: string; annotations: Record<string, string> }[];
}

const documentOf = (index: TagIndex): Document => JSON.parse(Buffer.from(index.serialise()).toString()) as Document;
const parse = (document: unknown): TagIndex => TagIndex.parse(Buffer.from(JSON.stringify(document)), 'r/index.json');
const reread = (index: TagIndex): TagIndex => TagIndex.parse(index.serialise(), 'r/index.json');

/** An index in the form of the release before histories: `latest` named a, b, a and c. */
const OLD = readFileSync(join(import.meta.dirname, '../../documents/tag-index-1.0.json'));

describe('tag history', () => {
  test('keeps the earlier period of a digest that returns', () => {
    const index = reread(after(saw('v1', 'a', 1000), saw('v1', 'b', 2000), saw('v1', 'b', 2500), saw('v1', 'a', 3000)));
    expect(index.history('v1')).toEqual([
      { digest: digest('a'), from: 1000, to: 2000 },
      { digest: digest('b'), from: 2000, to: 3000 },
      { digest: digest('a'), from: 3000, to: undefined },
    ]);
    expect(index.history('v2')).toEqual([]);
  });

  test('splits a period at a late observation', () => {
    const index = after(saw('v1', 'a', 1000), saw('v1', 'a', 3000), saw('v1', 'a', 5000), saw('v1', 'b', 2000));
    expect(index.history('v1')).toEqual([
      { digest: digest('a'), from: 1000, to: 2000 },
      { digest: digest('b'), from: 2000, to: 3000 },
      { digest: digest('a'), from: 3000, to: undefined },
    ]);
  });

  test('keeps the boundaries of the periods around a repeated observation', () => {
    const index = reread(after(saw('v1', 'a', 1000), saw('v1', 'b', 2000), saw('v1', 'b', 7000)));
    expect(index.history('v1').map(({ from, to }) => [from, to])).toEqual([
      [1000, 2000],
      [2000, undefined],
    ]);
    expect(index.byDigest(digest('a'))).toMatchObject({ replaced: 2000 });
  });

  test('gives the period to the current one of two digests of one instant', () => {
    const index = after(saw('v1', 'a', 1000), saw('v1', 'b', 1000));
    expect(index.history('v1')).toEqual([{ digest: digest('a'), from: 1000, to: undefined }]);
  });

  test('has a period without a start for an entry without a time', () => {
    const theirs = { mediaType: 'application/json', digest: digest('x'), size: 1 };
    const index = parse({ schemaVersion: 2, manifests: [{ ...theirs, annotations: { [ANNOTATIONS.tag]: 'v1' } }] });
    expect(index.history('v1')).toEqual([{ digest: digest('x'), from: undefined, to: undefined }]);
    expect(index.apply([saw('v1', 'a', 1000)]).index.history('v1')).toEqual([
      { digest: digest('x'), from: undefined, to: 1000 },
      { digest: digest('a'), from: 1000, to: undefined },
    ]);
    expect(index.asOf(9000).byTag('v1')).toBeUndefined();
  });

  test('keeps the first and the last observation of a digest without a tag', () => {
    const index = reread(after(saw(undefined, 'a', 2000), saw(undefined, 'a', 1000), saw(undefined, 'a', 3000)));
    expect(index.entries()[0]?.observations).toEqual([1000, 3000]);
    expect(index.asOf(999).entries()).toEqual([]);
    expect(index.asOf(1000).entries()).toMatchObject([{ digest: digest('a'), observed: 1000 }]);
  });
});

describe('the index as of an instant', () => {
  test('equals an index whose observations end at that instant', () => {
    const facts = (index: TagIndex): unknown =>
      index
        .entries()
        .filter(({ tag, hadTag }) => tag !== undefined || hadTag !== undefined)
        .map(({ tag, hadTag, digest: of, observed, observations, replaced }) => [
          tag,
          hadTag,
          of,
          observed,
          observations,
          replaced,
        ]);
    fc.assert(
      fc.property(history(), fc.integer({ min: 0, max: 10_001 }), (changes, instant) => {
        const before = changes.filter(({ observed }) => observed <= instant);
        const index = reread(after(...changes));
        expect(facts(index.asOf(instant))).toEqual(facts(after(...before)));
      }),
    );
  });

  test('has consecutive periods per tag, each with the digest that was observed last', () => {
    fc.assert(
      fc.property(history(), fc.integer({ min: 0, max: 10_001 }), (changes, instant) => {
        const index = after(...changes);
        for (const tag of ['v1', 'v2']) {
          const periods = index.history(tag);
          for (const [at, { to }] of periods.entries()) expect(to).toBe(periods[at + 1]?.from);
          const seen = latest(changes, tag, instant)?.descriptor.digest;
          const open = periods.find(({ from = 0, to = Infinity }) => from <= instant && instant < to);
          expect(open?.digest).toBe(seen);
          expect(index.asOf(instant).byTag(tag)?.digest).toBe(seen);
          expect(index.tagAsOf(tag, instant)?.digest).toBe(seen);
        }
      }),
    );
  });
});

test('a tag that thousands of digests have left has a history and past states', () => {
  const count = 5_000;
  const digestAt = (at: number): string => `sha256:${String(at).padStart(64, '0')}`;
  const timeAt = (at: number): string => new Date(at * 1000).toISOString();
  const manifests = Array.from({ length: count }, (_, at) => ({
    ...{ mediaType: MEDIA_TYPE, digest: digestAt(at), size: 1 },
    annotations: {
      [ANNOTATIONS.hadTag]: 'v1',
      [ANNOTATIONS.observed]: timeAt(at + 1),
      [ANNOTATIONS.observations]: timeAt(at + 1),
      [ANNOTATIONS.replaced]: timeAt(at + 2),
    },
  }));
  const index = parse({ schemaVersion: 2, manifests });
  const past = index.asOf((count - 1) * 1000);
  expect(past.byTag('v1')?.digest).toBe(digestAt(count - 2));
  expect(past.entries()).toHaveLength(count - 1);
  expect(past.entries().find((entry) => entry.digest === digestAt(7))?.replaced).toBe(9000);
  expect(index.history('v1')).toHaveLength(count + 1);
  const next = index.apply([saw('v1', 'a', (count + 5) * 1000)]).index;
  expect(next.history('v1')).toHaveLength(count + 2);
});

describe('a repair', () => {
  const index = after(saw('v1', 'a', 1000), saw('v1', 'b', 2000), saw('v1', 'a', 3000), saw('v2', 'b', 1500));

  test('keeps the other periods, and leaves the time of the removed digest without a digest', () => {
    const repaired = reread(index.without(new Set([digest('b')])));
    expect(repaired.history('v1')).toEqual([
      { digest: digest('a'), from: 1000, to: 2000 },
      { digest: undefined, from: 2000, to: 3000 },
      { digest: digest('a'), from: 3000, to: undefined },
    ]);
    expect(repaired.asOf(2500).byTag('v1')).toBeUndefined();
    expect(repaired.asOf(2500).entries()).toMatchObject([{ hadTag: 'v1', observed: 1000, replaced: 2000 }]);
    const later = reread(repaired.apply([saw('v1', 'c', 4000), saw('v2', 'b', 5000)]).index);
    expect(later.history('v1').map((period) => period.digest)).toEqual([
      digest('a'),
      undefined,
      digest('a'),
      digest('c'),
    ]);
    expect(later.history('v2').map(({ digest: of, from }) => [of, from])).toEqual([
      [undefined, 1500],
      [digest('b'), 5000],
    ]);
  });

  test('of the current digest leaves the tag without a digest', () => {
    const repaired = reread(index.without(new Set([digest('a')])));
    expect(repaired.byTag('v1')).toBeUndefined();
    expect(repaired.asOf(9000).byTag('v1')).toBeUndefined();
    expect(repaired.asOf(2500).byTag('v1')).toMatchObject({ digest: digest('b') });
  });

  test('of the current digest gives the tag to no older digest that is recorded later', () => {
    const only = new Set([digest('b')]);
    const repaired = reread(after(saw('v1', 'b', 2000)).without(only));
    const { index: both, outcomes } = repaired.apply([saw('v1', 'a', 1000)]);
    expect(outcomes).toEqual(['older']);
    expect(both.byTag('v1')).toBeUndefined();
    expect(reread(both).history('v1')).toEqual([
      { digest: digest('a'), from: 1000, to: 2000 },
      { digest: undefined, from: 2000, to: undefined },
    ]);
    expect(both.entries()).toEqual(
      after(saw('v1', 'a', 1000), saw('v1', 'b', 2000))
        .without(only)
        .entries(),
    );
    expect(both.apply([saw('v1', 'a', 3000)]).index.byTag('v1')).toMatchObject({ digest: digest('a') });
  });
});

describe('a rejection', () => {
  const reject = (index: TagIndex, of: string): TagIndex =>
    reread(withDecisionIn(index, { action: 'reject', digest: digest(of), by: 'ann', at: 5000, reason: 'a reason' }));

  test('is the cause of the periods whose digest it removed, also after a release and a repair', () => {
    const rejected = reject(after(saw('v1', 'a', 1000), saw('v1', 'b', 2000), saw('v1', 'c', 3000)), 'b');
    const periods = [
      { digest: digest('a'), from: 1000, to: 2000 },
      { digest: undefined, isRejected: true, from: 2000, to: 3000 },
      { digest: digest('c'), from: 3000, to: undefined },
    ];
    expect(rejected.history('v1')).toEqual(periods);
    const decision = { action: 'release', digest: digest('b'), by: 'ann', at: 6000, reason: 'a reason' } as const;
    const { index: restored } = withDecisionIn(rejected, decision).apply([saw('v1', 'b', 7000)]);
    expect(reread(restored).history('v1')).toEqual([
      ...periods.slice(0, 2),
      { digest: digest('c'), from: 3000, to: 7000 },
      { digest: digest('b'), from: 7000, to: undefined },
    ]);
    expect(reread(restored.without(new Set([digest('c')]))).history('v1')).toEqual([
      ...periods.slice(0, 2),
      { digest: undefined, from: 3000, to: 7000 },
      { digest: digest('b'), from: 7000, to: undefined },
    ]);
  });

  test('of the current digest ends the list', () => {
    const rejected = reject(after(saw('v1', 'a', 1000), saw('v1', 'b', 2000)), 'b');
    expect(rejected.history('v1').at(-1)).toEqual({ digest: undefined, isRejected: true, from: 2000, to: undefined });
  });

  test('leaves the annotation that earlier releases read as a repair does', () => {
    const index = after(saw('v1', 'a', 1000), saw('v1', 'b', 2000));
    const { annotations } = documentOf(index.without(new Set([digest('b')])));
    expect(documentOf(reject(index, 'b')).annotations).toEqual({
      ...annotations,
      [FORMAT]: '1.2',
      'dev.mirror-sync.rejected': annotations?.['dev.mirror-sync.removed'],
    });
  });
});

describe('formats', () => {
  const old = TagIndex.parse(OLD, 'r/index.json');

  test('reads an index of the earlier format with one period per entry, and writes the same bytes', () => {
    expect(Buffer.from(old.serialise()).toString()).toBe(OLD.toString());
    expect(old.history('latest')).toEqual([
      { digest: digest('b'), from: day('2026-02-01'), to: day('2026-03-01') },
      { digest: digest('a'), from: day('2026-03-01'), to: day('2026-04-01') },
      { digest: digest('c'), from: day('2026-04-01'), to: undefined },
    ]);
    expect(old.history('stable')).toEqual([{ digest: digest('a'), from: day('2026-01-15'), to: undefined }]);
  });

  test('writes the current format with the next change, with each field that an earlier release reads', () => {
    const next = old.apply([saw('latest', 'b', day('2026-05-01')), saw('stable', 'e', day('2026-05-01'))]).index;
    const written = documentOf(next);
    expect(written.annotations).toEqual({ [FORMAT]: '1.1' });
    const essential = written.manifests.map(({ digest: of, annotations }) => [
      annotations[ANNOTATIONS.tag] ?? `(${annotations[ANNOTATIONS.hadTag] ?? ''})`,
      of,
      annotations[ANNOTATIONS.observed]?.slice(0, 10),
      annotations[ANNOTATIONS.replaced]?.slice(0, 10),
    ]);
    expect(essential).toEqual([
      ['latest', digest('b'), '2026-05-01', undefined],
      ['stable', digest('e'), '2026-05-01', undefined],
      ['theirs', digest('foreign'), undefined, undefined],
      ['win', digest('w'), '2026-01-20', undefined],
      ['()', digest('d'), '2026-02-15', undefined],
      ['(latest)', digest('c'), '2026-04-01', '2026-05-01'],
      ['(latest)', digest('a'), '2026-03-01', '2026-04-01'],
      ['(stable)', digest('a'), '2026-01-15', '2026-05-01'],
    ]);
    expect(
      reread(next)
        .history('latest')
        .map(({ from }) => from),
    ).toEqual(['2026-02-01', '2026-03-01', '2026-04-01', '2026-05-01'].map(day));
  });

  // An earlier release copies unknown annotations, and replaces its own.
  test('loses no period if an earlier release observes a digest again', () => {
    const document = documentOf(after(saw('v1', 'a', 1000), saw('v1', 'b', 2000), saw('v1', 'c', 3000)));
    const [current, ...left] = document.manifests;
    const a = left.find(({ digest: of }) => of === digest('a'))!;
    const { [ANNOTATIONS.hadTag]: _, [ANNOTATIONS.replaced]: __, ...kept } = a.annotations;
    const time = { [ANNOTATIONS.observed]: '1970-01-01T00:00:09.000Z' };
    const again = { ...a, annotations: { ...kept, ...time, [ANNOTATIONS.tag]: 'v1' } };
    const { [ANNOTATIONS.tag]: ___, ...of } = current!.annotations;
    const replaced = { [ANNOTATIONS.hadTag]: 'v1', [ANNOTATIONS.replaced]: time[ANNOTATIONS.observed] };
    const manifests = [
      again,
      { ...current!, annotations: { ...of, ...replaced } },
      ...left.filter((each) => each !== a),
    ];
    expect(parse({ ...document, manifests }).history('v1')).toEqual([
      { digest: digest('a'), from: 1000, to: 2000 },
      { digest: digest('b'), from: 2000, to: 3000 },
      { digest: digest('c'), from: 3000, to: 9000 },
      { digest: digest('a'), from: 9000, to: undefined },
    ]);
  });

  test('reads a newer minor version without writing it', async () => {
    const document = { ...documentOf(after(saw('v1', 'a', 1000))), annotations: { [FORMAT]: '1.3' } };
    const index = parse(document);
    expect(index.byTag('v1')).toMatchObject({ digest: digest('a') });
    expect(index.apply([saw('v1', 'a', 1000)]).index).toBe(index);
    const refused = {
      side: 'archive',
      code: 'unsupported',
      message:
        'write tag index r/index.json: a newer release wrote it (expected formats up to 1.2, got 1.3); update mirror-sync',
    };
    expect(() => index.apply([saw('v1', 'b', 2000)])).toThrow(expect.objectContaining(refused) as Error);
    expect(() => index.without(new Set([digest('a')]))).toThrow(expect.objectContaining(refused) as Error);

    const store = new MemoryStore();
    const key = ociLayout.tagIndex('host.example/app');
    const bytes = Buffer.from(JSON.stringify(document));
    await store.put(key, bytes);
    const writing = new Archive(store, ociLayout).updateTags('host.example/app', [saw('v1', 'b', 2000)]);
    await expect(writing).rejects.toMatchObject({ code: 'unsupported' });
    expect(Buffer.from((await store.get(key, { maxBytes: 10_000 }))!.bytes)).toEqual(bytes);
  });

  test('refuses a newer major version', () => {
    expect(() => parse({ schemaVersion: 2, annotations: { [FORMAT]: '2.0' }, manifests: 'another form' })).toThrow(
      'read tag index r/index.json: a newer release wrote it (expected 1.x, got 2.0); update mirror-sync',
    );
  });

  test.each([
    [{ [FORMAT]: 'x' }, `annotations.${FORMAT}`],
    [{ 'dev.mirror-sync.removed': 'v1' }, 'annotations.dev.mirror-sync.removed'],
    [{ 'dev.mirror-sync.removed': 'v1@2026' }, 'annotations.dev.mirror-sync.removed'],
  ])('refuses a document with the annotations %j, and the error names the place', (annotations, place) => {
    expect(() => parse({ schemaVersion: 2, annotations, manifests: [] })).toThrow(place);
  });
});

test('adds nothing to an entry without a history', () => {
  const entries = documentOf(after(saw('v1', 'a', 1000), saw(undefined, 'b', 1000))).manifests;
  for (const { annotations } of entries) expect(annotations).not.toHaveProperty(ANNOTATIONS.observations);
});

function latest(changes: readonly TagChange[], of: string, instant: number): TagChange | undefined {
  return changes
    .filter(({ tag, observed }) => tag === of && observed <= instant)
    .sort((a, b) => a.observed - b.observed)
    .at(-1);
}
