/**
 * Brings the blob, and ends by SIGKILL before its n-th port call; or, for whoever kills it from outside, says `ready` just
 * before it begins, and `done`.
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
