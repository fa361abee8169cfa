/**
 * Sends the files below a folder, each read whole or streamed: `files.ts PORT FOLDER`. This is the minimum work of a
 * server.
 */
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';

const [, , port, folder = '.'] = process.argv;

createServer((request, response) => {
  if (request.url === '/') {
    response.end();
    return;
  }
  const path = join(folder, request.url ?? '');
  stat(path)
    .then(async ({ size }) => {
      response.writeHead(200, { 'content-length': size });
      await pipeline(createReadStream(path), response);
    })
    .catch(() => response.destroy());
}).listen(Number(port), '127.0.0.1');
