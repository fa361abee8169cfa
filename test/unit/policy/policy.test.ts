import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Place } from '../../../lib/oci/document.ts';
import { isSamePolicy, NO_POLICY, parsePolicy, type Policy, serialisePolicy } from '../../../lib/policy/policy.ts';

const placeOf = (value: unknown): Place => Place.ofBytes('read policy', Buffer.from(JSON.stringify(value)), 'policy');

const signer = fc.oneof(
  fc.record({ key: fc.string({ minLength: 1, maxLength: 100 }) }),
  fc.record({
    identity: fc.constantFrom('https://a.example/*', 'a@b.example'),
    issuer: fc.constant('https://b.example'),
  }),
);

const somePolicy = fc
  .record(
    {
      referrers: fc.constantFrom('all' as const, 'none' as const, ['application/spdx+json']),
      verify: fc.constantFrom('require' as const, 'warn' as const, 'off' as const),
      signers: fc.array(signer, { minLength: 1, maxLength: 3 }),
      minimumAgeMs: fc.integer({ min: 0, max: 365 * 86_400_000 }),
      initial: fc.constant('accept' as const),
      moved: fc.constantFrom('follow' as const, 'keep' as const, 'fail' as const),
      attest: fc.constantFrom('off' as const, 'on' as const, 'require' as const),
    },
    { requiredKeys: ['referrers', 'verify', 'signers', 'minimumAgeMs', 'moved', 'attest'] },
  )
  .map((policy): Policy => policy);

describe('the policy in the archive', () => {
  test('is read as it was written', () => {
    fc.assert(
      fc.property(somePolicy, (policy) => {
        const read = parsePolicy(placeOf(serialisePolicy(policy)));
        expect(read).toEqual(policy);
        expect(isSamePolicy(read, policy)).toBe(true);
      }),
    );
  });

  test('differs from another policy in any key', () => {
    expect(isSamePolicy(NO_POLICY, { ...NO_POLICY })).toBe(true);
    expect(isSamePolicy(NO_POLICY, { ...NO_POLICY, minimumAgeMs: 1 })).toBe(false);
    expect(isSamePolicy(NO_POLICY, { ...NO_POLICY, initial: 'accept' })).toBe(false);
  });

  test.each([
    ['an unknown key', { ...NO_POLICY, more: 1 }, 'policy.more: is not a part of a policy'],
    ['an unknown choice', { ...NO_POLICY, moved: 'stay' }, 'policy.moved: must be one of follow, keep, fail'],
    ['a missing key', { ...NO_POLICY, verify: undefined }, 'policy.verify: must be one of require, warn, off'],
    ['a negative age', { ...NO_POLICY, minimumAgeMs: -1 }, 'policy.minimumAgeMs'],
    ['an age without end', { ...NO_POLICY, minimumAgeMs: Number.MAX_SAFE_INTEGER }, 'less than 100 years'],
    ['no signer to verify with', { ...NO_POLICY, verify: 'require' }, 'policy.signers: must not be empty'],
    ['a signer without issuer', { ...NO_POLICY, signers: [{ identity: 'a' }] }, 'policy.signers[0].issuer'],
    ['an artifact type that is not one', { ...NO_POLICY, referrers: ['sbom'] }, 'policy.referrers[0]'],
  ])('is refused with %s', (_, policy, message) => {
    expect(() => parsePolicy(placeOf(policy))).toThrow(message);
  });

  test('of a newer release may have keys that this release ignores', () => {
    expect(parsePolicy(placeOf({ ...NO_POLICY, more: 1 }), true)).toEqual(NO_POLICY);
  });
});
