import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Archive } from '../../../lib/archive/archive.ts';
import { ociLayout } from '../../../lib/archive/oci-layout.ts';
import { withPolicy } from '../../../lib/archive/tag-index/withheld.ts';
import { MEDIA_TYPES } from '../../../lib/oci/mediatype.ts';
import { NO_POLICY } from '../../../lib/policy/policy.ts';
import { TagIndex } from '../../../lib/archive/tag-index/tag-index.ts';
import { MemoryStore } from '../../kit/memory-store.ts';
import { countCalls } from '../../kit/faults.ts';
import { after, digest, history, saw } from './observations.ts';

const TYPE = 'application/spdx+json';
const SUBJECT = digest('image');
const SBOM = { ...saw(undefined, 'sbom', 2000), subject: SUBJECT, artifactType: TYPE };
const SIGNATURE = { ...saw('sha256-x.sig', 'signature', 3000), subject: SUBJECT };

function textOf(index: TagIndex): string {
  return Buffer.from(index.serialise()).toString();
}

function reread(index: TagIndex): TagIndex {
  return TagIndex.parse(index.serialise(), 'index.json');
}

describe('an entry of a referrer', () => {
  test('has its subject as an annotation, and its artifact type as a field', () => {
    const index = after(saw('v1', 'image', 1000), SBOM, SIGNATURE);
    const { manifests } = JSON.parse(textOf(index)) as { manifests: unknown[] };
    expect(manifests.at(-1)).toEqual({
      mediaType: SBOM.descriptor.mediaType,
      digest: SBOM.descriptor.digest,
      size: SBOM.descriptor.size,
      artifactType: TYPE,
      annotations: {
        'dev.mirror-sync.observed': '1970-01-01T00:00:02.000Z',
        'dev.mirror-sync.platforms': 'all',
        'dev.mirror-sync.subject': SUBJECT,
      },
    });
    expect(reread(index).byDigest(digest('sbom'))).toMatchObject({ subject: SUBJECT, artifactType: TYPE });
    expect(textOf(reread(index))).toBe(textOf(index));
  });

  test('is found by its subject, also after its tag or that of the subject has moved', () => {
    const index = after(...[saw('v1', 'image', 1000), SBOM, SIGNATURE, saw('v1', 'other', 4000)], {
      ...saw('sha256-x.sig', 'two signatures', 5000),
      subject: SUBJECT,
    });
    const digests = ['sbom', 'signature', 'two signatures'].map(digest).sort();
    for (const each of [index, reread(index), index.asOf(6000)])
      expect(each.referrersOf(SUBJECT).map((entry) => entry.digest)).toEqual(digests);
    expect(
      index
        .asOf(2500)
        .referrersOf(SUBJECT)
        .map((entry) => entry.digest),
    ).toEqual([digest('sbom')]);
    expect(index.referrersOf(digest('other'))).toEqual([]);
  });

  test('learns its subject from a later observation, and does not forget it', () => {
    const bare = saw(undefined, 'sbom', 1000);
    for (const changes of [
      [bare, SBOM],
      [SBOM, bare],
    ])
      expect(after(...changes).byDigest(digest('sbom'))).toMatchObject({ subject: SUBJECT, artifactType: TYPE });
  });

  test('with a subject that is not a digest is corrupt', () => {
    const text = textOf(after(SBOM)).replace(SUBJECT, 'sha256:1');
    expect(() => TagIndex.parse(Buffer.from(text), 'index.json')).toThrow(/dev\.mirror-sync\.subject/);
  });
});

describe('a policy that holds images', () => {
  const HELD = withPolicy(after(), { ...NO_POLICY, minimumAgeMs: 1_000_000 });
  const SIG = `${SUBJECT.replace(':', '-')}.sig`;

  test('holds no referrer and no tag of cosign', () => {
    const { index } = HELD.apply([SBOM, { ...SIGNATURE, tag: SIG }], 3000);
    expect(index.referrersOf(SUBJECT)).toHaveLength(2);
  });

  test('holds an image under a tag, also if its manifest names a subject', () => {
    for (const tag of ['latest', SIG.replace(SUBJECT.slice(7), digest('other').slice(7))]) {
      const { index, outcomes } = HELD.apply([{ ...SBOM, tag }], 3000);
      expect(outcomes).toEqual(['held']);
      expect(index.entries()).toEqual([]);
    }
  });
});

describe('a check for referrers', () => {
  test('is recorded in the entry, and changes nothing else of it', () => {
    const index = after(saw('v1', 'image', 1000), saw(undefined, 'image', 1000));
    for (const tag of ['v1', undefined]) {
      const at = 5000;
      const checked = index.checked([{ digest: SUBJECT, at, ...(tag === undefined ? {} : { tag }) }]);
      const entries = reread(checked).entries();
      expect(entries.map((entry) => [entry.tag, entry.checked])).toEqual([
        ['v1', tag === undefined ? undefined : at],
        [undefined, tag === undefined ? at : undefined],
      ]);
      for (const entry of entries) expect(entry).toMatchObject({ observed: 1000, observations: [1000] });
    }
  });

  test('of an earlier time, of another digest, or of a missing entry changes nothing', () => {
    const index = after(saw('v1', 'image', 1000)).checked([{ tag: 'v1', digest: SUBJECT, at: 5000 }]);
    const checks = [
      { tag: 'v1', digest: SUBJECT, at: 4000 },
      { tag: 'v1', digest: digest('other'), at: 6000 },
      { tag: 'v2', digest: SUBJECT, at: 6000 },
      { digest: SUBJECT, at: 6000 },
    ];
    expect(index.checked(checks)).toBe(index);
  });

  test('converges with observations in any order', () => {
    fc.assert(
      fc.property(history(), fc.integer({ min: 1, max: 10_000 }), (changes, at) => {
        const checked = changes.map((change) => ({ ...change, checked: at }));
        const last = (index: TagIndex): unknown => index.entries().map((entry) => [entry.digest, entry.checked]);
        const expected = last(after(...checked));
        expect(last(after(...checked.toReversed()))).toEqual(expected);
        expect(last(after(...changes, ...checked))).toEqual(expected);
      }),
    );
  });

  test('names the referrers that it has ordered, until they arrive', () => {
    const awaited = [SBOM.descriptor.digest, SIGNATURE.descriptor.digest].toSorted();
    const image = { ...saw('v1', 'image', 1000), checked: 5000, awaited };
    const index = after(image);
    expect(reread(index).byTag('v1')).toMatchObject({ checked: 5000, awaited });
    expect(textOf(reread(index))).toBe(textOf(index));
    expect(after(image, SBOM).byTag('v1')?.awaited).toEqual([SIGNATURE.descriptor.digest]);
    expect(after(SIGNATURE, image, SBOM).byTag('v1')).toMatchObject({ checked: 5000, awaited: [] });
    const of = { tag: 'v1', digest: SUBJECT };
    const missing = [digest('another')];
    expect(index.checked([{ ...of, at: 4000, awaited: missing }])).toBe(index);
    expect(index.checked([{ ...of, at: 6000 }]).byTag('v1')).toMatchObject({ checked: 6000, awaited: [] });
    expect(index.checked([{ ...of, at: 6000, awaited: missing }]).byTag('v1')?.awaited).toEqual(missing);
    const text = textOf(index).replace(awaited.join(), 'sha256:1');
    expect(() => TagIndex.parse(Buffer.from(text), 'index.json')).toThrow(/dev\.mirror-sync\.referrers-awaited/);
  });

  test('is due again after a repair has removed a referrer, also after the last check', () => {
    const other = saw('v2', 'other', 1000);
    const index = after({ ...saw('v1', 'image', 1000), checked: 5000 }, other, SBOM);
    const repaired = reread(index.without(new Set([SBOM.descriptor.digest])));
    expect(repaired.byTag('v1')).toMatchObject({ checked: 5000, awaited: [SBOM.descriptor.digest] });
    expect(repaired.byTag('v2')?.awaited).toEqual([]);
    expect(repaired.apply([SBOM]).index.byTag('v1')?.awaited).toEqual([]);
    const child = { ...SBOM, subject: digest('a child of v3') };
    const root = saw('v3', 'index', 1000);
    const indexes = { ...root, descriptor: { ...root.descriptor, mediaType: MEDIA_TYPES.ociIndex } };
    const without = after(indexes, other, child).without(new Set([child.descriptor.digest]));
    expect(without.byTag('v3')?.awaited).toEqual([child.descriptor.digest]);
    expect(without.byTag('v2')?.awaited).toEqual([]);
  });

  test('awaits the same referrers in whatever order the observations are recorded', () => {
    const referrer = fc.constantFrom('a', 'b', 'c', 'd');
    const checks = fc.array(fc.record({ checked: fc.integer({ min: 1, max: 5 }), awaited: fc.array(referrer) }));
    fc.assert(
      fc.property(
        history(),
        checks,
        fc.array(referrer),
        fc.infiniteStream(fc.nat()),
        (changes, checked, found, keys) => {
          const images = changes.map((change, at) => {
            const check = checked[at % (checked.length || 1)];
            return check === undefined ? change : { ...change, ...check, awaited: check.awaited.map(digest) };
          });
          const arrived = found.map((name) => ({ ...saw(`${name}.sig`, name, 20_000), subject: SUBJECT }));
          const last = (index: TagIndex): unknown =>
            index.entries().map((entry) => [entry.digest, entry.checked, entry.awaited]);
          const all = [...images, ...arrived];
          const shuffled = all.map((each) => [keys.next().value, each] as const).sort(([a], [b]) => a - b);
          const oneByOne = shuffled.reduce((index, [, each]) => index.apply([each]).index, after());
          expect(last(oneByOne)).toEqual(last(after(...all)));
        },
      ),
    );
  });

  test('of many images is written once, and a time in the future is refused', async () => {
    const { port, faults } = countCalls(new MemoryStore());
    const archive = new Archive(port, ociLayout);
    const images = Array.from({ length: 100 }, (_, at) => saw(`v${at}`, `image ${at}`, 1000));
    await archive.updateTags('example.com/app', images);
    const before = faults.calls.length;
    const checks = images.map(({ tag = '', descriptor }) => ({ tag, digest: descriptor.digest, at: 2000 }));
    await archive.recordChecks('example.com/app', checks);
    await archive.recordChecks('example.com/app', checks);
    expect(faults.calls.slice(before).filter((call) => call.startsWith('port.put'))).toHaveLength(1);
    const future = Date.now() + 3_600_000;
    const late = checks.map((check) => ({ ...check, at: future }));
    await expect(archive.recordChecks('example.com/app', late)).rejects.toThrow('after the clock of this machine');
  });
});
