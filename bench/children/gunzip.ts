/** Inflates the files that it is given, two at a time, and does nothing with what comes out. */
import { createReadStream } from 'node:fs';
import { Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';

/** Larger gives nothing more. */
const CHUNK_BYTES = 256 * 1024;

const files = process.argv.slice(2).values();

async function inflateRest(): Promise<void> {
  for (const file of files)
    await pipeline(
      createReadStream(file, { highWaterMark: CHUNK_BYTES }),
      createGunzip({ chunkSize: CHUNK_BYTES }),
      new Writable({ write: (_chunk, _encoding, done) => done() }),
    );
}

await Promise.all([inflateRest(), inflateRest()]);
