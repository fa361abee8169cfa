import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';

test('the thread that compares passwords does not keep the process alive after its last result', async () => {
  const { stdout } = await promisify(execFile)(process.execPath, [join(import.meta.dirname, 'bcrypt.child.ts')]);
  expect(stdout).toBe('[true,false]');
});
