import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ANNOTATIONS, TagIndex } from '../../../lib/archive/tag-index/tag-index.ts';
import { decisionIn, heldFor, withDecisionIn, withPolicy } from '../../../lib/archive/tag-index/withheld.ts';
import { NO_POLICY } from '../../../lib/policy/policy.ts';
import { after, digest, history, MEDIA_TYPE, saw } from './observations.ts';

const NOW = Date.UTC(2026, 0, 31);
const MINUTE = 60_000;
const DAY = 24 * 60 * MINUTE;
const NAME = 'r/index.json';

/** The text of a time, in milliseconds after now. */
const at = (ms: number): string => new Date(NOW + ms).toISOString();
const textOf = (index: TagIndex): string => Buffer.from(index.serialise()).toString();
const bytesOf = (document: unknown): Uint8Array => Buffer.from(JSON.stringify(document));
const repaired = (bytes: Uint8Array, now = NOW): ReturnType<typeof TagIndex.parseRepaired> =>
  TagIndex.parseRepaired(bytes, NAME, now);

function entry(name: string, annotations: Readonly<Record<string, string>>): Record<string, unknown> {
  return { mediaType: MEDIA_TYPE, digest: digest(name), size: 1, annotations };
}

function annotationsOf(index: TagIndex): Readonly<Record<string, string>>[] {
  const { manifests } = JSON.parse(textOf(index)) as { manifests: { annotations: Record<string, string> }[] };
  return manifests.map(({ annotations }) => annotations);
}

function documentOf(...manifests: unknown[]): Record<string, unknown> {
  return { schemaVersion: 2, manifests };
}

describe('a tag index with times in the future', () => {
  const { tag, observed, observations, hadTag, replaced, checked, hidden } = ANNOTATIONS;
  const untouched = { ...entry('c', { 'com.example.note': 'x', [tag]: 'v2' }), urls: ['https://example.com/c'] };
  const document = {
    ...documentOf(
      { ...entry('a', { [tag]: 'v1', [observed]: at(3 * DAY), [observations]: `${at(-DAY)},${at(3 * DAY)}` }) },
      {
        ...entry('b', {
          [hadTag]: 'v1',
          [observed]: at(2 * DAY),
          [observations]: `${at(-2 * DAY)},${at(DAY)},${at(2 * DAY)}`,
          [replaced]: at(3 * DAY),
          [checked]: at(4 * DAY),
          [hidden]: `${at(-3 * DAY)},${at(MINUTE)}`,
          'com.example.at': at(3 * DAY),
        }),
        platform: { os: 'linux', architecture: 'amd64' },
      },
      untouched,
    ),
    annotations: { 'com.example.made': at(3 * DAY) },
    'com.example': { kept: true },
  };

  test('is refused, and the error names the remedy', () => {
    expect(() => TagIndex.parse(bytesOf(document), NAME, NOW)).toThrow(
      `read tag index r/index.json: manifests[0].annotations.${observed}: is ${at(3 * DAY)}, more than 15 minutes ` +
        `after the clock of this machine (${at(0)}); if that clock is right, verify --repair sets such times to the present`,
    );
  });

  test('is repaired: the last time becomes the present, and all times keep their order', () => {
    const { index } = repaired(bytesOf(document));
    const [a, c, b] = annotationsOf(index);
    expect(a).toEqual({ [tag]: 'v1', [observed]: at(-1), [observations]: `${at(-DAY)},${at(-1)}` });
    expect(b).toEqual({
      [hadTag]: 'v1',
      [observed]: at(-2),
      [observations]: `${at(-2 * DAY)},${at(-3)},${at(-2)}`,
      [replaced]: at(-1),
      [checked]: at(0),
      [hidden]: `${at(-3 * DAY)},${at(-4)}`,
      'com.example.at': at(3 * DAY),
    });
    expect(c).toEqual({ 'com.example.note': 'x', [tag]: 'v2' });
    expect(TagIndex.parse(index.serialise(), NAME, NOW).history('v1')).toEqual([
      { digest: digest('b'), from: NOW - 2 * DAY, to: NOW - DAY },
      { digest: digest('a'), from: NOW - DAY, to: NOW - 3 },
      { digest: digest('b'), from: NOW - 3, to: NOW - 1 },
      { digest: digest('a'), from: NOW - 1, to: undefined },
    ]);
  });

  test('keeps all other fields in the repair', () => {
    const after = JSON.parse(textOf(repaired(bytesOf(document)).index)) as typeof document & Record<string, unknown>;
    expect(after).toMatchObject({ 'com.example': { kept: true }, annotations: document.annotations });
    expect(after['manifests']).toMatchObject([
      { digest: digest('a') },
      { digest: digest('c'), urls: ['https://example.com/c'] },
      { digest: digest('b'), platform: { os: 'linux', architecture: 'amd64' } },
    ]);
    // An entry without such a time keeps its bytes.
    expect(textOf(repaired(bytesOf(document)).index)).toContain(`\n${JSON.stringify(untouched)},\n`);
  });

  test('names its last such time with its annotation and its tag', () => {
    expect(repaired(bytesOf(document)).fault).toBe(
      `manifests[1].annotations.${checked} of tag v1 is ${at(4 * DAY)}, more than 15 minutes after the clock of this ` +
        `machine (${at(0)}); if that clock is right, verify --repair sets such times to the present`,
    );
    const untagged = documentOf(entry('a', { [observed]: at(DAY) }));
    expect(repaired(bytesOf(untagged)).fault).toContain(`${observed} of ${digest('a')} is ${at(DAY)}, more`);
  });

  test('keeps the order if the index has a time of the last milliseconds', () => {
    const names = ['a', 'b', 'c'];
    const times = [0, DAY, 2 * DAY];
    const entries = names.map((name, n) => entry(name, { [tag]: name, [observed]: at(times[n] ?? 0) }));
    const { index } = repaired(bytesOf(documentOf(...entries)));
    expect(index.entries().map((each) => each.observed)).toEqual([NOW, NOW + 1, NOW + 2]);
  });

  test('of any observations has the same entries and the same history after the repair', () => {
    fc.assert(
      fc.property(history(), fc.integer({ min: 1, max: 10_000 }), (changes, clock) => {
        const moved = changes.map((change) => ({
          ...change,
          observed: change.observed > clock ? change.observed + DAY : change.observed,
        }));
        const stored = after(...moved);
        const { index, fault } = repaired(stored.serialise(), clock);
        expect(fault === undefined).toBe(changes.every((change) => change.observed <= clock));
        expect(index.entries().map((each) => [each.tag, each.hadTag, each.digest])).toEqual(
          stored.entries().map((each) => [each.tag, each.hadTag, each.digest]),
        );
        for (const name of ['v1', 'v2'])
          expect(index.history(name).map((period) => period.digest)).toEqual(
            stored.history(name).map((period) => period.digest),
          );
        // It is the index that the same observations give at the times of the repair.
        expect(textOf(TagIndex.parse(index.serialise(), NAME, clock))).toBe(textOf(index));
      }),
    );
  });
});

describe('the policy of a tag index', () => {
  const decide = (
    index: TagIndex,
    action: 'release' | 'reject',
    image: string,
    time: number,
    name?: string,
  ): TagIndex =>
    withDecisionIn(index, {
      action,
      digest: digest(image),
      by: 'ann',
      at: time,
      reason: 'a reason',
      ...(name === undefined ? {} : { tag: name }),
    });
  const under = (policy: Partial<typeof NO_POLICY>): TagIndex =>
    withPolicy(TagIndex.empty(), { ...NO_POLICY, minimumAgeMs: 7 * DAY, ...policy });

  test('keeps the last decision and the last held digest, with their times in the present', () => {
    let index = under({}).apply([saw('v1', 'a', NOW + DAY), saw('v1', 'b', NOW + DAY + 1)], NOW + DAY).index;
    index = decide(index, 'release', 'c', NOW + 2 * DAY, 'v1');
    index = decide(index, 'reject', 'c', NOW + 3 * DAY);
    const { index: present, fault } = repaired(index.serialise());
    expect(fault).toBe(
      `dev.mirror-sync.decisions[0].at of ${digest('c')} is ${at(3 * DAY)}, more than 15 minutes after the clock of ` +
        `this machine (${at(0)}); if that clock is right, verify --repair sets such times to the present`,
    );
    const read = TagIndex.parse(present.serialise(), NAME, NOW);
    expect(heldFor(read, 'v1')).toMatchObject({
      entry: { digest: digest('b') },
      until: NOW - 2 + 7 * DAY,
      isLast: true,
    });
    expect(decisionIn(read, 'v1', digest('c'))).toMatchObject({ action: 'reject', at: NOW });
    expect(read.control.decisions.map((each) => each.at)).toEqual([NOW, NOW - 1]);
  });

  test('keeps records of repairs, verifications and the first run', () => {
    const { control } = under({ initial: 'accept' });
    const index = under({}).withControl({
      ...control,
      initial: NOW + DAY,
      unverified: [{ tag: 'v1', digest: digest('a'), first: NOW - DAY, checked: NOW + DAY, reason: 'none' }],
      dropped: [{ tag: 'v2', digest: digest('b'), was: 'held', first: NOW + 2 * DAY }],
    });
    expect(TagIndex.parse(repaired(index.serialise()).index.serialise(), NAME, NOW).control).toMatchObject({
      initial: NOW - 1,
      unverified: [{ tag: 'v1', first: NOW - DAY, checked: NOW - 1 }],
      dropped: [{ tag: 'v2', was: 'held', first: NOW }],
    });
  });

  test('keeps the cause of a removal in the history', () => {
    const seen = after(saw('v1', 'a', NOW - DAY), saw('v1', 'b', NOW + DAY));
    const index = decide(seen, 'reject', 'b', NOW + 2 * DAY).without(new Set([digest('a')]));
    const { index: present, fault } = repaired(index.apply([saw('v1', 'c', NOW + 3 * DAY)], NOW).index.serialise());
    expect(fault).toBeDefined();
    expect(TagIndex.parse(present.serialise(), NAME, NOW).history('v1')).toEqual([
      { digest: undefined, from: NOW - DAY, to: NOW - 2 },
      { digest: undefined, isRejected: true, from: NOW - 2, to: NOW },
      { digest: digest('c'), from: NOW, to: undefined },
    ]);
  });
});

describe('a repair of times', () => {
  test('changes nothing in an index whose times are at most 15 minutes ahead', () => {
    const { tag, observed } = ANNOTATIONS;
    const index = TagIndex.parse(
      bytesOf(documentOf(entry('a', { [tag]: 'v1', [observed]: at(15 * MINUTE) }))),
      NAME,
      NOW,
    );
    const read = repaired(index.serialise());
    expect(read.fault).toBeUndefined();
    expect(textOf(read.index)).toBe(textOf(index));
  });

  // The policy uses the earlier one of this time and the first observation.
  test('keeps the time of a transparency log, which is read although it is in the future', () => {
    const { tag, observed, signed } = ANNOTATIONS;
    const stored = bytesOf(documentOf(entry('a', { [tag]: 'v1', [observed]: at(0), [signed]: at(DAY) })));
    expect(TagIndex.parse(stored, NAME, NOW).byTag('v1')).toMatchObject({ signed: NOW + DAY });
    expect(repaired(stored)).not.toHaveProperty('fault');
    const ahead = bytesOf(documentOf(entry('a', { [tag]: 'v1', [observed]: at(DAY), [signed]: at(2 * DAY) })));
    expect(repaired(ahead).index.byTag('v1')).toMatchObject({ observed: NOW, signed: NOW + 2 * DAY });
  });

  test('refuses an index with another fault as every command does', () => {
    const { tag, observed } = ANNOTATIONS;
    const ahead = entry('a', { [tag]: 'v1', [observed]: at(DAY) });
    const stored = bytesOf(documentOf(ahead, entry('b', { [tag]: 'v2', [observed]: 'yesterday' })));
    expect(() => repaired(stored)).toThrow(
      `manifests[1].annotations.${observed}: is not a time, such as 2026-01-31T00:00:00.000Z; restore the object, or ` +
        'move it away and sync again',
    );
  });

  test('refuses the index of a newer release', () => {
    const document = documentOf(entry('a', { [ANNOTATIONS.tag]: 'v1', [ANNOTATIONS.observed]: at(DAY) }));
    const stored = bytesOf({ ...document, annotations: { 'dev.mirror-sync.format': '1.99' } });
    expect(() => repaired(stored)).toThrow('a newer release wrote it (expected formats up to 1.2, got 1.99)');
  });
});
