/** Mirrors the scene, and is killed by SIGKILL before its n-th port call. Prints the number of calls if it finishes. */
import { dieHere, Faults } from '../kit/faults.ts';
import { run } from './scene.ts';

const [host = '', folder = '', at = ''] = process.argv.slice(2);
const faults = new Faults({ at: Number(at), act: dieHere });
const { outcomes } = await run(host, folder, faults);
process.stdout.write(JSON.stringify({ calls: faults.calls.length, outcomes }));
