import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { MAIN } from '../../kit/command-line.ts';

test('refuses a folder archive on Windows', async () => {
  const windows = 'data:text/javascript,Object.defineProperty(process,"platform",{value:"win32"})';
  const run = promisify(execFile)(process.execPath, ['--import', windows, MAIN, 'ls', './archive']);
  await expect(run).rejects.toMatchObject({
    code: 2,
    stderr: expect.stringContaining('a folder archive needs file locks and folder syncs that Windows lacks') as string,
  });
});
