import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { unverifiedOf } from '../../../lib/archive/tag-index/control.ts';
import { type TagChange, TagIndex } from '../../../lib/archive/tag-index/tag-index.ts';
import {
  decisionIn,
  heldAs,
  heldDigest,
  heldFor,
  heldIn,
  currentOf,
  withDecisionIn,
  withoutDamaged,
  withoutInitial,
  withPolicy,
} from '../../../lib/archive/tag-index/withheld.ts';
import type { Decision } from '../../../lib/policy/decisions.ts';
import { NO_POLICY, type Policy } from '../../../lib/policy/policy.ts';
import { after, digest, history, saw } from './observations.ts';

const AGE = 1_000;
const HOLDING: Policy = { ...NO_POLICY, minimumAgeMs: AGE };
/** Later than all observations. */
const LATER = 1_000_000;

const textOf = (index: TagIndex): string => Buffer.from(index.serialise()).toString();
const reread = (index: TagIndex): TagIndex => TagIndex.parse(index.serialise(), 'index.json');
const under = (policy: Partial<Policy>, index = TagIndex.empty()): TagIndex =>
  withoutInitial(withPolicy(index, { ...NO_POLICY, ...policy }), 0);
const format = (index: TagIndex): unknown =>
  (JSON.parse(textOf(index)) as { annotations: Record<string, string> }).annotations['dev.mirror-sync.format'];
const decision = (action: Decision['action'], image: string, at: number, tag?: string): Decision => ({
  action,
  digest: digest(image),
  by: 'lena',
  at,
  reason: 'a reason',
  ...(tag === undefined ? {} : { tag }),
});

/** Observations of which some are signed: the log time of a digest is always the same. */
const signedHistory = history().map((changes) =>
  changes.map((change): TagChange => {
    const isSigned = change.descriptor.digest === digest('d');
    return isSigned ? { ...change, verified: { by: 'key', at: 500 } } : change;
  }),
);

/** The first observation of a digest under a tag. */
function firstOf(changes: readonly TagChange[], tag: string | undefined, of: string): number {
  const same = changes.filter((change) => change.tag === tag && change.descriptor.digest === of);
  return Math.min(...same.flatMap(({ observed, verified }) => [observed, verified?.at ?? observed]));
}

describe('minimumAge', () => {
  test('gives the same index, byte for byte, for observations in any order, batches and repetitions', () => {
    fc.assert(
      fc.property(signedHistory, fc.infiniteStream(fc.nat()), (changes, random) => {
        const expected = textOf(under(HOLDING).apply(changes, LATER).index);
        let index = under(HOLDING);
        for (const change of [...changes, ...changes].sort(() => ((random.next().value ?? 0) % 2) - 0.5))
          index = reread(index.apply([change], LATER).index);
        expect(textOf(index)).toBe(expected);
      }),
    );
  });

  test('shows no digest before its time, now and in the history, and each observed after its time', () => {
    fc.assert(
      fc.property(signedHistory, (changes) => {
        const { index } = under(HOLDING).apply(changes, LATER);
        for (const tag of ['v1', 'v2'])
          for (const { digest: of = '', from = 0 } of index.history(tag))
            expect(from).toBeGreaterThanOrEqual(firstOf(changes, tag, of) + AGE);
        for (const { tag, observed, descriptor } of changes) {
          const isDue = observed >= firstOf(changes, tag, descriptor.digest) + AGE;
          const visible = index.entries().filter((entry) => (entry.tag ?? entry.hadTag) === tag);
          if (isDue) expect(visible.map((entry) => entry.digest)).toContain(descriptor.digest);
        }
      }),
    );
  });

  test('does not trust the clock of an observation that is ahead', () => {
    const index = under(HOLDING).apply([saw('v1', 'a', 1_000)], 1_000).index;
    expect(index.apply([saw('v1', 'a', 2_000)], 1_999).outcomes).toEqual(['held']);
    expect(index.apply([saw('v1', 'a', 2_000)], 2_000).outcomes).toEqual(['written']);
  });

  test('reports the end of the period, and changes nothing for a repeated observation', () => {
    const first = under(HOLDING).apply([saw('v1', 'a', 1_000)], 1_000);
    expect(first.applied).toEqual([{ outcome: 'held', until: 2_000, isNew: true }]);
    const again = first.index.apply([saw('v1', 'a', 1_000)], 1_500);
    expect(again.applied).toEqual([{ outcome: 'held', until: 2_000, isNew: false }]);
    expect(again.index).toBe(first.index);
    expect(first.index.entries()).toEqual([]);
    expect(format(first.index)).toBe('1.2');
  });

  test('starts a period of its own for a digest to which upstream moves the tag', () => {
    const { index } = under(HOLDING).apply([saw('v1', 'a', 1_000), saw('v1', 'b', 1_500)], 1_500);
    expect(heldFor(index, 'v1')).toMatchObject({ until: 2_500, entry: { digest: digest('b') } });
    expect(index.apply([saw('v1', 'b', 2_400)], 2_400).outcomes).toEqual(['held']);
    expect(index.apply([saw('v1', 'b', 2_500)], 2_500).index.byTag('v1')?.digest).toBe(digest('b'));
  });

  test('ends a hold whose tag returns to the visible digest', () => {
    const visible = under(HOLDING, after(saw('v1', 'a', 1_000)));
    const moved = visible.apply([saw('v1', 'b', 2_000)], 2_000).index;
    expect(heldFor(moved, 'v1')?.entry.digest).toBe(digest('b'));
    const back = moved.apply([saw('v1', 'a', 2_500)], 2_500);
    expect(back.outcomes).toEqual(['unchanged']);
    expect(heldFor(back.index, 'v1')).toBeUndefined();
  });

  test('changes no visible tag when it is enabled, tightened or removed', () => {
    fc.assert(
      fc.property(history(), (changes) => {
        const before = after(...changes);
        for (const index of [
          under(HOLDING, before),
          under({ ...HOLDING, minimumAgeMs: 10 * AGE }, under(HOLDING, before)),
        ]) {
          expect(index.entries()).toEqual(before.entries());
          const reapplied = index.apply(changes, LATER).index;
          expect(reapplied.entries().map((entry) => entry.tag)).toEqual(before.entries().map((entry) => entry.tag));
        }
        expect(textOf(under({}, under(HOLDING, before)))).toBe(textOf(before));
      }),
    );
  });

  test('releases at the next observation after it is loosened', () => {
    const { index } = under(HOLDING).apply([saw('v1', 'a', 1_000)], 1_000);
    expect(under({ minimumAgeMs: 10 }, index).apply([saw('v1', 'a', 1_500)], 1_500).outcomes).toEqual(['written']);
    const free = under({}, index).apply([saw('v1', 'a', 1_500)], 1_500).index;
    expect(format(free)).toBe('1.1');
    expect(textOf(free)).not.toContain('"dev.mirror-sync"');
  });

  test('keeps the times hidden at which a digest was held, after it is removed', () => {
    const { index } = under(HOLDING).apply([saw('v1', 'a', 1_000), saw('v1', 'b', 1_500)], 1_500);
    const free = under({}, index).apply([saw('v1', 'a', 1_600)], 1_600).index;
    expect(free.history('v1')).toEqual([{ digest: digest('a'), from: 1_600, to: undefined }]);
    const released = withDecisionIn(under({}, index), decision('release', 'b', 1_700, 'v1'));
    expect(released.history('v1')).toEqual([{ digest: digest('b'), from: 1_700, to: undefined }]);
  });

  test('holds a digest under one tag that is visible under another, and one without a tag', () => {
    const { index, outcomes } = under(HOLDING, after(saw('v1', 'a', 1_000))).apply(
      [saw('v2', 'a', 1_100), saw(undefined, 'b', 1_100)],
      1_100,
    );
    expect(outcomes).toEqual(['held', 'held']);
    expect(index.byDigest(digest('a'))).toBeDefined();
    expect(index.byTag('v2')).toBeUndefined();
    expect(index.byDigest(digest('b'))).toBeUndefined();
    expect(heldAs(index, 'v2', digest('a'))).toMatchObject({ until: 2_100, isLast: true });
    expect(heldDigest(index, digest('b'))).toMatchObject({ until: 2_100 });
  });

  test('with initial: accept exempts the digests of the first completed run, and none later', () => {
    const open = withPolicy(TagIndex.empty(), { ...HOLDING, initial: 'accept' });
    const first = open.apply([saw('v1', 'a', 1_000)], 1_000);
    expect(first.outcomes).toEqual(['written']);
    const closed = reread(withoutInitial(first.index, 1_200));
    expect(closed.apply([saw('v2', 'b', 1_100)], 1_300).outcomes).toEqual(['written']);
    expect(closed.apply([saw('v2', 'b', 1_300)], 1_300).outcomes).toEqual(['held']);
    const existing = withPolicy(after(saw('v1', 'a', 1_000)), { ...HOLDING, initial: 'accept' });
    expect(existing.apply([saw('v2', 'b', 1_300)], 1_300).outcomes).toEqual(['held']);
  });
});

describe('moved', () => {
  test.each(['keep', 'fail'] as const)(
    '%s leaves the bytes of the index unchanged, and reports both digests',
    (moved) => {
      const index = under({ moved }, after(saw('v1', 'a', 1_000)));
      const { index: next, applied } = index.apply([saw('v1', 'b', 2_000)], 2_000);
      expect(applied).toEqual([{ outcome: 'drifted', current: digest('a') }]);
      expect(next).toBe(index);
    },
  );

  test('keep follows a tag whose new digest a person releases', () => {
    const kept = under({ moved: 'keep' }, after(saw('v1', 'a', 1_000)));
    const released = withDecisionIn(kept, decision('release', 'b', 1_500, 'v1'));
    expect(released.apply([saw('v1', 'b', 2_000)], 2_000).index.byTag('v1')?.digest).toBe(digest('b'));
  });
});

describe('verify: require', () => {
  const strict = under({ verify: 'require', signers: [{ key: 'a key' }] });
  const refused = { ...saw('v1', 'a', 1_000), unverified: 'the image has no signature' };

  test('records a digest without a verified signature, and shows it once it is verified', () => {
    const { index, applied } = strict.apply([refused], 1_000);
    expect(applied).toEqual([{ outcome: 'unverified', reason: 'the image has no signature', isNew: true }]);
    expect(index.entries()).toEqual([]);
    expect(unverifiedOf(index.control.unverified, 'v1', digest('a'))?.reason).toBe('the image has no signature');
    const verified = reread(index).apply([{ ...saw('v1', 'a', 2_000), verified: { by: 'key' } }], 2_000).index;
    expect(verified.byTag('v1')?.observations).toEqual([2_000]);
    expect(verified.control.unverified).toEqual([]);
  });

  test('withholds a digest whose message has no result, as messages of the previous version', () => {
    expect(strict.apply([saw('v1', 'a', 1_000)], 1_000).outcomes).toEqual(['unverified']);
  });

  test('keeps a digest visible that the archive has shown before', () => {
    const index = under(strict.control.policy, after(saw('v1', 'a', 1_000)));
    expect(index.apply([saw('v1', 'a', 2_000)], 2_000).outcomes).toEqual(['unchanged']);
  });
});

describe('decisions', () => {
  const held = under(HOLDING).apply([saw('v1', 'a', 1_000), saw('v2', 'a', 1_000)], 1_000).index;

  test('release a digest under one tag at the time of the decision, or under all tags', () => {
    const one = reread(withDecisionIn(held, decision('release', 'a', 1_200, 'v1')));
    expect(one.history('v1')).toEqual([{ digest: digest('a'), from: 1_200, to: undefined }]);
    expect(one.byTag('v2')).toBeUndefined();
    expect(heldIn(withDecisionIn(held, decision('release', 'a', 1_200)))).toEqual([]);
    expect(decisionIn(one, 'v1', digest('a'))).toMatchObject({ by: 'lena', reason: 'a reason' });
  });

  test('release a digest that is not mirrored yet', () => {
    const index = withDecisionIn(under(HOLDING), decision('release', 'c', 1_000, 'v1'));
    expect(index.apply([saw('v1', 'c', 2_000)], 2_000).outcomes).toEqual(['written']);
    expect(index.apply([saw('v2', 'c', 2_000)], 2_000).outcomes).toEqual(['held']);
  });

  test('reject a held digest, and a visible one, under every tag', () => {
    const rejected = withDecisionIn(held, decision('reject', 'a', 1_200));
    expect(heldIn(rejected)).toEqual([]);
    expect(rejected.apply([saw('v3', 'a', 3_000)], 3_000).applied).toEqual([
      { outcome: 'rejected', reason: 'rejected by lena: a reason' },
    ]);
    const visible = withDecisionIn(after(saw('v1', 'a', 1_000)), decision('reject', 'a', 1_200));
    expect(visible.entries()).toEqual([]);
    expect(visible.tagAsOf('v1', 1_100)).toBeUndefined();
  });

  test('are ordered by their writes, whatever the clocks of people say', () => {
    const rejected = withDecisionIn(held, decision('reject', 'a', 1_500));
    const released = reread(withDecisionIn(rejected, decision('release', 'a', 1_400, 'v1')));
    expect(decisionIn(released, 'v1', digest('a'))).toMatchObject({ action: 'release', at: 1_501 });
    expect(released.apply([saw('v1', 'a', 1_600)], 1_600).outcomes).toEqual(['written']);
    const again = withDecisionIn(released, decision('reject', 'a', 1_000));
    expect(decisionIn(again, 'v1', digest('a'))?.action).toBe('reject');
  });

  test('are replaced by a later decision about the same digest', () => {
    const both = withDecisionIn(withDecisionIn(held, decision('reject', 'a', 1_200)), decision('release', 'a', 1_300));
    expect(both.control.decisions).toHaveLength(1);
    expect(both.apply([saw('v1', 'a', 1_400)], 1_400).outcomes).toEqual(['written']);
  });
});

describe('a digest that a repair has removed', () => {
  const only = new Set([digest('a')]);

  test('is visible at once when it returns, if it was visible before', () => {
    const visible = under(HOLDING, after(saw('v1', 'a', 1_000)));
    const repaired = reread(withoutDamaged(visible, only));
    expect(repaired.byTag('v1')).toBeUndefined();
    const back = repaired.apply([saw('v1', 'a', 1_200)], 1_200);
    expect(back.outcomes).toEqual(['written']);
    expect(textOf(back.index)).not.toContain('dropped');
    expect(repaired.apply([saw('v1', 'b', 1_200)], 1_200).outcomes).toEqual(['held']);
  });

  test('continues its period, if it was held', () => {
    const { index } = under(HOLDING).apply([saw('v1', 'a', 1_000)], 1_000);
    const back = reread(withoutDamaged(index, only)).apply([saw('v1', 'a', 1_900)], 1_900);
    expect(back.applied).toMatchObject([{ outcome: 'held', until: 2_000 }]);
    const twice = reread(withoutDamaged(back.index, only)).apply([saw('v1', 'a', 2_000)], 2_000);
    expect(twice.index.history('v1')).toEqual([{ digest: digest('a'), from: 2_000, to: undefined }]);
  });

  test.each(['before', 'after'])(
    'continues its period under a policy that returns, if the policy ended %s the repair',
    (when) => {
      const { index } = under(HOLDING).apply([saw('v1', 'a', 1_000)], 1_000);
      const removed = (each: TagIndex): TagIndex => reread(withoutDamaged(each, only));
      const without = (each: TagIndex): TagIndex => reread(withPolicy(each, NO_POLICY));
      const returned = withPolicy(when === 'before' ? removed(without(index)) : without(removed(index)), HOLDING);
      expect(returned.control.initial).toBe(index.control.initial);
      const back = returned.apply([saw('v1', 'a', 1_900)], 1_900);
      expect(back.applied).toMatchObject([{ outcome: 'held', until: 2_000 }]);
    },
  );

  test('stays the digest that its tag keeps', () => {
    const kept = under({ moved: 'keep' }, after(saw('v1', 'a', 1_000)));
    const repaired = reread(withoutDamaged(kept, only));
    expect(currentOf(repaired, 'v1')).toBe(digest('a'));
    expect(repaired.apply([saw('v1', 'b', 1_200)], 1_200).applied).toEqual([
      { outcome: 'drifted', current: digest('a') },
    ]);
    const released = withDecisionIn(repaired, decision('release', 'b', 1_300, 'v1'));
    const moved = released.apply([saw('v1', 'b', 1_400)], 1_400).index;
    expect(currentOf(moved, 'v1')).toBe(digest('b'));
    const rejected = withDecisionIn(moved, decision('reject', 'b', 1_500));
    expect(currentOf(rejected, 'v1')).toBeUndefined();
  });

  test('does not open the time of initial: accept again', () => {
    const repaired = withoutDamaged(after(saw('v1', 'a', 1_000)), only);
    const index = withPolicy(repaired, { ...HOLDING, initial: 'accept' });
    expect(index.control.initial).toBeUndefined();
    expect(index.apply([saw('v1', 'b', 1_200)], 1_200).outcomes).toEqual(['held']);
  });

  test('is recorded in a repository with a policy, until it returns', () => {
    const visible = after(saw('v1', 'a', 1_000));
    expect(textOf(withoutDamaged(visible, only))).toBe(textOf(visible.without(only)));
    const repaired = under({}, withoutDamaged(under(HOLDING, visible), only));
    expect(format(repaired)).toBe('1.2');
    const back = repaired.apply([saw('v1', 'a', 1_200)], 1_200).index;
    expect(format(back)).toBe('1.1');
  });
});

describe('an image that names a subject, as a signature does', () => {
  const named = { ...saw('v1', 'a', 1_000), subject: digest('b') };
  const strict = { verify: 'require', signers: [{ identity: '*', issuer: '*' }] } as const;

  test('is judged like any other under an ordinary tag', () => {
    expect(under(strict).apply([named], LATER).outcomes).toEqual(['unverified']);
    expect(under(HOLDING).apply([named], 1_000).outcomes).toEqual(['held']);
  });

  test('is a referrer without a tag, and under a tag of cosign', () => {
    const { tag: _, ...untagged } = named;
    const signature = { ...named, tag: `${digest('b').replace(':', '-')}.sig` };
    expect(under(strict).apply([untagged, signature], LATER).outcomes).toEqual(['written', 'written']);
  });
});

describe('an image whose verification failed', () => {
  // The policy may have changed after the resolver read it, and nothing below the manifest was fetched.
  test.each([[NO_POLICY], [HOLDING], [{ ...NO_POLICY, moved: 'keep' as const }]])(
    'stays invisible for any policy: %#',
    (policy) => {
      const index = under(policy);
      const { index: next, outcomes } = index.apply([{ ...saw('v1', 'a', 1_000), unverified: 'no signature' }], LATER);
      expect(outcomes).toEqual(['unverified']);
      expect(next).toBe(index);
    },
  );

  test('does not move its tag back to a digest that was visible before', () => {
    const { index } = under({}).apply([saw('v1', 'a', 1_000), saw('v1', 'b', 2_000)], LATER);
    const strict = withPolicy(index, { ...NO_POLICY, verify: 'require', signers: [{ identity: '*', issuer: '*' }] });
    const { index: next } = strict.apply([{ ...saw('v1', 'a', 3_000), unverified: 'no signature' }], LATER);
    expect(next.byTag('v1')?.digest).toBe(digest('b'));
  });
});
