// Preloaded into a process (`node --import`): at its end it writes its peak resident memory, in bytes, into a file.
import { writeFileSync } from 'node:fs';
import process from 'node:process';

process.on('exit', () => {
  writeFileSync(process.env.MIRROR_SYNC_PEAK_FILE, String(process.resourceUsage().maxRSS * 1024));
});
