import { expect, test } from 'vitest';
import { FOREIGN_HOSTS, isForeignAllowed } from '../../../lib/registry/http/foreign-hosts.ts';

const registry = [new URL('https://registry.example')];

test.each([
  ['https://mcr.microsoft.com/v2/windows/servercore/blobs/sha256:0', true],
  ['https://westeurope.data.mcr.microsoft.com/layer', true],
  ['https://go.microsoft.com/fwlink/?linkid=837858', true],
  ['https://registry.example/layer', true],
  ['https://victim.example/layer', false],
  ['https://evilmcr.microsoft.com.example/layer', false],
  ['https://notmcr.microsoft.com/layer', false],
  ['http://127.0.0.1:5000/layer', false],
])('a foreign layer at %s is allowed by default: %s', (url, expected) => {
  expect(isForeignAllowed(new URL(url), FOREIGN_HOSTS, registry)).toBe(expected);
});

test('a host may have a port, and *. stands for every host below a domain', () => {
  const allowed = (url: string, ...patterns: string[]): boolean => isForeignAllowed(new URL(url), patterns, registry);
  expect(allowed('https://a.example:5000/x', 'a.example:5000')).toBe(true);
  expect(allowed('https://a.example:5000/x', 'a.example')).toBe(true);
  expect(allowed('https://a.example/x', 'a.example:5000')).toBe(false);
  expect(allowed('https://b.a.example/x', '*.a.example')).toBe(true);
  expect(allowed('https://a.example/x', '*.a.example')).toBe(false);
  expect(allowed('https://xa.example/x', '*.a.example')).toBe(false);
});

test('a registry on this machine may lead to other servers on this machine', () => {
  const local = [new URL('http://localhost:5000')];
  expect(isForeignAllowed(new URL('http://127.0.0.1:6000/x'), [], local)).toBe(true);
  expect(isForeignAllowed(new URL('http://10.0.0.1/x'), [], local)).toBe(false);
});
