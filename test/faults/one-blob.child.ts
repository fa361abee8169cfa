/** Brings the blob, and ends by SIGKILL before its n-th port call. */
import { dieHere, Faults } from '../kit/faults.ts';
import { bring, openStore } from './one-blob.ts';

const [host = '', name = '', partBytes = '', at = ''] = process.argv.slice(2);
await using opened = openStore(name, Number(partBytes));
await bring(host, opened.store, { faults: new Faults({ at: Number(at), act: dieHere }) });
