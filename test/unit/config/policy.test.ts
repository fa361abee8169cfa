import { generateKeyPairSync } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { parseConfig } from '../../../lib/config/config.ts';
import { NO_POLICY, type Policy } from '../../../lib/policy/policy.ts';

const KEY = generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({
  type: 'spki',
  format: 'pem',
}) as string;
const IDENTITY = {
  identity: 'https://github.com/o/r/.github/workflows/*@refs/tags/*',
  issuer: 'https://token.example',
};

/** The policy of a mirror in a file with these settings; JSON is YAML. */
function policyOf(own: object | undefined, common?: object, more: object = {}): Policy | undefined {
  const mirror = { source: 'a.example/b', tags: 'all', ...(own === undefined ? {} : { policy: own }) };
  const defaults = common === undefined ? {} : { defaults: { policy: common } };
  return parseConfig(JSON.stringify({ version: '1', ...defaults, ...more, mirrors: [mirror] }), 'mirror.yaml')
    .mirrors[0]?.policy;
}

describe('policy', () => {
  test('is undefined without any setting, and has defaults otherwise', () => {
    expect(policyOf(undefined)).toBeUndefined();
    expect(policyOf({})).toEqual(NO_POLICY);
  });

  test('of a mirror replaces each key of the defaults', () => {
    const common = { minimumAge: '7d', moved: 'keep', initial: 'accept' };
    const merged = { ...NO_POLICY, minimumAgeMs: 3_600_000, moved: 'keep', initial: 'accept' };
    expect(policyOf({ minimumAge: '1h' }, common)).toEqual(merged);
    expect(policyOf(undefined, common)).toMatchObject({ minimumAgeMs: 7 * 86_400_000 });
  });

  test('accepts public keys, and identities with a trusted root', () => {
    expect(policyOf({ verify: 'require', signers: [{ key: KEY }] })?.signers).toEqual([{ key: KEY }]);
    const root = { trustedRoot: 'trusted_root.json' };
    expect(policyOf({ verify: 'warn', signers: [IDENTITY] }, undefined, root)?.signers).toEqual([IDENTITY]);
  });

  test.each([
    ['an unknown key', { minimumage: '7d' }, {}, 'minimumAge'],
    ['an age without unit', { minimumAge: '7' }, {}, 'a duration, such as 30m, 12h or 7d'],
    ['an age of a million days', { minimumAge: '1000000d' }, {}, 'a duration'],
    ['verification without signers', { verify: 'require' }, {}, 'verify: require needs signers'],
    ['an identity without trusted root', { verify: 'warn', signers: [IDENTITY] }, {}, 'needs trustedRoot'],
    ['a private key', { signers: [{ key: '-----BEGIN PRIVATE KEY-----' }] }, {}, 'signers[0]'],
    ['an identity without issuer', { signers: [{ identity: 'a' }] }, {}, 'signers[0].issuer: is missing'],
    [
      'a key with another setting',
      { signers: [{ key: KEY, identity: 'a' }] },
      {},
      'signers[0].identity: unknown setting "identity" (available: key)',
    ],
    ['an artifact type that is not one', { referrers: ['sbom'] }, {}, 'referrers'],
    ['a trusted root in another folder', {}, { trustedRoot: '../root.json' }, 'trustedRoot'],
  ])('refuses %s', (_, own, more, message) => {
    expect(() => policyOf(own, undefined, more)).toThrow(message);
  });
});
