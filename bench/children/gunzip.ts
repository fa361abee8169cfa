/** Inflates the given files, two at a time, and drops the output. */
import { createReadStream } from 'node:fs';
import { Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';

/** A larger buffer is not faster. */
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
