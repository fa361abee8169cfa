/** The thread of `bcrypt.ts`. */
import { parentPort } from 'node:worker_threads';
import { compareSync } from 'bcryptjs';
import type { FromThread, ToThread } from './bcrypt.ts';

parentPort?.on('message', ({ request, password, hash }: ToThread) => {
  parentPort?.postMessage({ request, matches: compareSync(password, hash) } satisfies FromThread);
});
