import { bodyOf } from '../store/body.ts';

/** The body of a response: bytes, or chunks that are read once and released, or none. */
export type Content = Uint8Array<ArrayBuffer> | AsyncIterable<Uint8Array> | null;

/**
 * A response with its content beside the web stream. A host of Node.js writes the content to the connection, because reading
 * a web stream takes several times as long. A host reads one of the two.
 */
export class Reply extends Response {
  readonly content: Content;

  /** @param content each chunk is valid until the next one is requested */
  constructor(content: Content, init: ResponseInit) {
    super(content === null || content instanceof Uint8Array ? content : streamOf(content), init);
    this.content = content;
  }
}

/** The first `length` bytes of a body. */
export function firstOf(body: AsyncIterable<Uint8Array>, length: number): AsyncIterable<Uint8Array> {
  async function* chunks(): AsyncGenerator<Uint8Array, void, void> {
    let left = length;
    for await (const chunk of body) {
      const part = chunk.subarray(0, left);
      left -= part.length;
      yield part;
      if (left === 0) return;
    }
  }
  return bodyOf(chunks(), () => void body[Symbol.asyncIterator]().return?.());
}

/** The same content at the pace of the client. The stream owns its chunks, so it copies them. */
function streamOf(content: AsyncIterable<Uint8Array>): ReadableStream<Uint8Array> {
  const chunks = content[Symbol.asyncIterator]();
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const next = await chunks.next();
        if (next.done === true) controller.close();
        else controller.enqueue(new Uint8Array(next.value));
      },
      async cancel() {
        await chunks.return?.();
      },
    },
    { highWaterMark: 0 },
  );
}
