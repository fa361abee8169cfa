import type { IncomingHttpHeaders } from 'undici/types/header.js';

/**
 * The behaviour of a request that is refused for a rate limit:
 * - `wait`: it waits for its turn and is sent again, until it is accepted or its kind of request has failed;
 * - `once`: the refusal is the reply, because another address can be tried;
 * - `at-once`: as `once`, and the request does not wait for pauses that other kinds of requests have caused.
 */
export type Persistence = 'wait' | 'once' | 'at-once';

/** One HTTP request, independent of registries. */
export interface HttpRequest {
  /** The name of the exchange in errors. */
  readonly operation: string;
  readonly method: 'GET' | 'HEAD' | 'POST';
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
  /** The URL whose redirect or challenge named this URL. */
  readonly namedBy?: URL | undefined;
  /** The behaviour after a rate limit (`paced-wire.ts`). Default: `wait`. */
  readonly persistence?: Persistence | undefined;
}

export interface Reply {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** The URL that replied, after redirects. */
  readonly url: URL;
  /** The URL whose redirect or challenge named that URL. */
  readonly namedBy?: URL | undefined;
  readonly body: ReplyBody;
}

/** A response body. It holds a connection until its receiver has read it to the end or cancelled it. */
export interface ReplyBody {
  /** The next piece, or undefined at the end. @throws Failure if the body is incomplete */
  read(): Promise<Buffer | undefined>;
  /** Closes the connection unless the body has ended. */
  cancel(): void;
  /** Limits the remaining time to that of a short body. Another call starts that time again. */
  expectShort(): void;
}
