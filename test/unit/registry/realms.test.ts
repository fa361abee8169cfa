import { describe, expect, test } from 'vitest';
import type { TokenRequest } from '../../../lib/registry/auth/challenge.ts';
import { type RealmRules, usableAt } from '../../../lib/registry/auth/realms.ts';

const RULES: RealmRules = { isInsecure: () => false, tokenService: () => undefined };
const CREDENTIALS = [
  { username: 'bob', password: 'hunter2secret', from: 'f' },
  { username: '<token>', identityToken: 'refresh', from: 'f' },
];

function wanted(registry: string, realm: string, namedBy = `https://${registry}/v2/`): TokenRequest {
  return { realm, service: 's', scope: 'repository:a/b:pull', registry, namedBy: new URL(namedBy) };
}

describe.each(CREDENTIALS)('the credentials %j', (credential) => {
  test.each([
    ['reg.test', 'https://reg.test/token'],
    ['reg.test', 'https://reg.test:8443/token'],
    ['docker.io', 'https://auth.docker.io/token'],
    ['registry.gitlab.com', 'https://gitlab.com/jwt/auth'],
    ['eu.gcr.io', 'https://gcr.io/v2/token'],
    ['registry.redhat.io', 'https://sso.redhat.com/auth'],
  ])('of %s are sent to %s', (registry, realm) => {
    expect(usableAt(wanted(registry, realm), credential, RULES)).toEqual({ credential });
  });

  test.each([
    ['reg.test', 'https://evil.test/token'],
    ['reg.test', 'https://auth.docker.io/token'],
    ['reg.test', 'https://token.reg.test/token'],
    ['docker.io', 'https://gitlab.com/jwt/auth'],
    ['docker.io', 'https://auth.docker.io.evil.test/token'],
    ['evil-gcr.io.test', 'https://gcr.io/token'],
    ['reg.test', 'http://evil.test/token'],
  ])('of %s are not sent to %s', (registry, realm) => {
    const usable = usableAt(wanted(registry, realm), credential, RULES);
    expect(usable.credential).toBeUndefined();
    expect(usable.withheld).toContain(`registries.${registry}.tokenService`);
  });

  test('are sent to the configured token service of that registry, and to no other', () => {
    const tokenService = (registry: string): string | undefined => (registry === 'reg.test' ? 'sso.test' : undefined);
    const rules = { ...RULES, tokenService };
    expect(usableAt(wanted('reg.test', 'https://sso.test/token'), credential, rules)).toEqual({ credential });
    expect(usableAt(wanted('other.test', 'https://sso.test/token'), credential, rules).credential).toBeUndefined();
  });

  test('of a registry on this host are sent to another name of this host, and to no other loopback address', () => {
    const at = (realm: string): TokenRequest => wanted('localhost:5000', realm, 'http://localhost:5000/v2/');
    for (const own of ['http://127.0.0.1:5001/token', 'http://[::1]:5001/token', 'http://auth.localhost:5001/token'])
      expect(usableAt(at(own), credential, RULES)).toEqual({ credential });
    expect(usableAt(at('http://127.0.0.2:5001/token'), credential, RULES).credential).toBeUndefined();
    expect(usableAt(wanted('reg.test', 'http://127.0.0.1/token'), credential, RULES).credential).toBeUndefined();
  });

  test('are not sent without TLS, unless that host is insecure', () => {
    const plain = wanted('reg.test', 'http://reg.test/token');
    expect(() => usableAt(plain, credential, RULES)).toThrow('names a token service without TLS');
    const rules = { ...RULES, isInsecure: (host: string) => host === 'reg.test' };
    expect(usableAt(plain, credential, rules)).toEqual({ credential });
    const asked = wanted('reg.test', 'http://reg.test/token', 'http://reg.test/v2/');
    expect(usableAt(asked, credential, RULES)).toEqual({ credential });
  });
});
