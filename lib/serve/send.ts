import type { ServerResponse } from 'node:http';
import type { Reply } from './reply.ts';

/** Sends a response at the pace of its client, and releases its content when the connection ends. */
export async function send({ status, headers, content }: Reply, outgoing: ServerResponse): Promise<void> {
  if (content !== null && !(content instanceof Uint8Array) && outgoing.destroyed) {
    await content[Symbol.asyncIterator]().return?.();
    return;
  }
  outgoing.writeHead(status, Object.fromEntries(headers));
  if (content === null || content instanceof Uint8Array) outgoing.end(content ?? undefined);
  else await sendChunks(content, outgoing);
}

async function sendChunks(chunks: AsyncIterable<Uint8Array>, outgoing: ServerResponse): Promise<void> {
  try {
    for await (const chunk of chunks) {
      await written(chunk, outgoing);
      if (outgoing.destroyed) return;
    }
    outgoing.end();
  } catch (error) {
    // The client must not take a part for the whole.
    outgoing.destroy(error instanceof Error ? error : undefined);
  }
}

/** Resolves when the kernel has the chunk, or when the connection has ended. */
function written(chunk: Uint8Array, outgoing: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      outgoing.off('close', done);
      resolve();
    };
    outgoing.once('close', done);
    outgoing.write(chunk, done);
  });
}
