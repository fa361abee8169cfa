/**
 * Mirrors the blob, and is killed by SIGKILL before its n-th port call. For a kill from outside, it prints `ready` just before
 * it begins, and `done`.
 */
import { dieHere, Faults } from '../kit/faults.ts';
import { bring, openStore } from './one-blob.ts';

const [host = '', name = '', partBytes = '', at = ''] = process.argv.slice(2);
await using opened = openStore(name, Number(partBytes));
if (at === 'ready') {
  process.stdout.write(at);
  await bring(host, opened.store);
  process.stdout.write('done');
} else await bring(host, opened.store, { faults: new Faults({ at: Number(at), act: dieHere }) });
