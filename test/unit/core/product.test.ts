import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { USER_AGENT } from '../../../lib/core/product.ts';

test('the version in the User-Agent is the version of the package', async () => {
  const { version } = JSON.parse(await readFile('package.json', 'utf8')) as { version: string };
  expect(USER_AGENT).toMatch(/^mirror-sync\/\d+\.\d+\.\d+ \(\+https:\/\/\S+\)$/);
  expect(USER_AGENT.startsWith(`mirror-sync/${version} `)).toBe(true);
});
