/** A request, its reply and the body of the reply. */
import type { IncomingHttpHeaders } from 'undici/types/header.js';

/**
 * How a request goes on that is refused for a rate limit:
 * - `wait`: it waits for its turn and is sent again, until it is let through or its kind of request is given up;
 * - `once`: the refusal is the reply, since another address can be asked;
 * - `at-once`: as `once`, and it does not wait for a pause that requests of another kind have caused.
 */
export type Persistence = 'wait' | 'once' | 'at-once';

/** One HTTP exchange as it goes over the wire; it knows nothing of registries. */
export interface HttpRequest {
  /** What the exchange is for; names it in every error. */
  readonly operation: string;
  readonly method: 'GET' | 'HEAD' | 'POST';
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
  /** Who named the URL, where it is foreign: the sender of a redirect or of a challenge. */
  readonly namedBy?: URL | undefined;
  /** What to do where the host refuses it for a rate limit (`paced-wire.ts`). */
  readonly persistence?: Persistence | undefined;
}

export interface Reply {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** Where the reply came from, after redirects. */
  readonly url: URL;
  /** Who named that URL, where it is foreign. */
  readonly namedBy?: URL | undefined;
  readonly body: ReplyBody;
}

/** A response body. Its receiver either reads it to its end or cancels it: until then it holds a connection. */
export interface ReplyBody {
  /** The next piece, or nothing at the end; throws a `Failure` where the body breaks off. */
  read(): Promise<Buffer | undefined>;
  /** Gives the connection up, where the body has not ended. Harmless afterwards. */
  cancel(): void;
  /** Limits the time that is left to the time of a short body. */
  expectShort(): void;
}
