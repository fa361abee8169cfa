import { Failure, type FailureCode } from '../core/failure.ts';
import { Pieces } from '../core/pieces.ts';
import { type Digest, digestOf, digestParts } from '../oci/digest.ts';
import { RegistryBlob } from './blob.ts';
import type { Operation } from './client.ts';
import { sourceFailure } from './errors.ts';
import { LARGE_BYTES } from './http/short.ts';

export interface SmallBlobOptions extends Operation {
  readonly digest: Digest;
  readonly maxBytes: number;
  readonly size: number | undefined;
}

/** Reads a whole blob into memory; one of more than 256 KiB waits until no other such blob of the registry is read. */
export async function readSmallBlob(options: SmallBlobOptions): Promise<Uint8Array> {
  const { client, operation, signal, maxBytes, size = maxBytes } = options;
  if (size > maxBytes) throw tooLarge(options, size);
  if (size <= LARGE_BYTES) return read(options);
  using _turn = await client.largeBlobs.hold(signal).catch((thrown: unknown) => {
    throw sourceFailure(thrown, operation, signal);
  });
  return await read(options);
}

async function read(options: SmallBlobOptions): Promise<Uint8Array> {
  const { digest, maxBytes } = options;
  const blob = new RegistryBlob(options);
  // Bytes from several responses may be mixed, so a digest mismatch is retried once.
  for (let last = false; ; last = true) {
    const { body, total, resumed } = await blob.open({ start: 0 });
    const pieces = new Pieces();
    let length = 0;
    for await (const piece of body) {
      length += piece.length;
      if ((total ?? length) > maxBytes || length > maxBytes) throw tooLarge(options, total ?? `more than ${maxBytes}`);
      pieces.push(piece);
    }
    const bytes = pieces.joined();
    const found = digestOf(bytes, digestParts(digest).algorithm);
    if (found === digest) return bytes;
    const code = resumed() === 0 ? 'digest-mismatch' : 'digest-mismatch-resumed';
    if (last || resumed() === 0) throw failed(options, code, `the received bytes have the digest ${found}`);
  }
}

function tooLarge(options: SmallBlobOptions, bytes: number | string): Failure {
  const detail = `the blob is too large: expected at most ${options.maxBytes} bytes, got ${bytes}`;
  return failed(options, 'too-large', detail);
}

function failed({ operation }: SmallBlobOptions, code: FailureCode, detail: string): Failure {
  return new Failure({ operation, side: 'source', code, detail });
}
