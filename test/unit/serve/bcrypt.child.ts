/** Compares passwords on the thread, and prints the results. The process has to end by itself. */
import bcrypt from 'bcryptjs';
import { BcryptThread } from '../../../lib/serve/bcrypt.ts';

const hash = await bcrypt.hash('right', 4);
const thread = new BcryptThread();
const results = [await thread.compare('right', hash), await thread.compare('wrong', hash)];
process.stdout.write(JSON.stringify(results));
