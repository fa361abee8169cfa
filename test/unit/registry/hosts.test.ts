import { describe, expect, test } from 'vitest';
import { isOffLimits } from '../../../lib/registry/hosts.ts';

describe('addresses that a registry elsewhere must not send us to', () => {
  // The addresses of clouds' credentials and of this machine, in the spellings that a URL may have them in.
  test.for([
    'http://169.254.169.254/latest/meta-data/',
    'http://169.254.170.2/v2/credentials',
    'http://2852039166/', // 169.254.169.254 as one number
    'http://[fd00:ec2::254]/',
    'http://[fe80::1]/',
    'http://[::ffff:169.254.169.254]/',
    'http://[::ffff:127.0.0.1]/',
    'http://127.0.0.1:9001/2018-06-01/runtime/invocation/next',
    'http://127.1/',
    'http://localhost:9001/',
    'http://[::1]/',
    'http://0.0.0.0:9001/',
    'http://[::]/',
  ])('%s is off limits', (url) => {
    expect(isOffLimits(new URL(url), new URL('https://registry.example.com'))).toBe(true);
  });

  // Other hosts are not, private networks included: registries and their stores live there.
  test.for(['https://cdn.example.com/x', 'http://10.0.0.5/x', 'http://169.1.1.1/', 'http://[2001:db8::1]/'])(
    '%s is not',
    (url) => {
      expect(isOffLimits(new URL(url), new URL('https://registry.example.com'))).toBe(false);
    },
  );

  // A registry on this machine may name what it likes: its store is on this machine as well.
  test('a registry on loopback may name anything', () => {
    expect(isOffLimits(new URL('http://127.0.0.1:9000/b'), new URL('http://localhost:5000'))).toBe(false);
  });
});
