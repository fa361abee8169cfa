import { Failure } from '../core/failure.ts';
import type { Digest } from '../oci/digest.ts';
import { BlobReader, type Opening } from './blob-reader.ts';
import type { RegistryClient, Try } from './client.ts';
import { withoutCodings } from './http/decoding.ts';
import type { Ask } from './endpoint.ts';
import { ERROR_BODY_BYTES, refusal, sourceFailure } from './errors.ts';
import { judge, rangeHeader, type Opened, type Wanted } from './http/range.ts';
import type { BlobBody, BlobSource, Cancel } from './source.ts';
import { readExcerpt } from './http/short.ts';
import type { Persistence, Reply } from './http/message.ts';

export interface BlobOptions {
  readonly client: RegistryClient;
  readonly repository: string;
  readonly digest: Digest;
  readonly operation: string;
  readonly size?: number | undefined;
  readonly urls?: readonly string[] | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Where the bytes of a blob were found outside of the registry. */
interface Location {
  readonly url: URL;
  /** Who named the URL; the registry's own documents where nothing is given. */
  readonly namedBy?: URL | undefined;
  /** The endpoint that led there, which gets no authorization should the way lead back. */
  readonly home?: URL | undefined;
}

export class RegistryBlob implements BlobSource {
  readonly #options: BlobOptions;
  readonly #etags = new Map<string, string>();
  #total: number | undefined;
  /** Responses whose ETag differed from an earlier one: a wrong digest may then come from mixing two versions. */
  #changes = 0;
  /** Addresses of a foreign layer that were asked, and those that have failed, for whatever reason. */
  readonly #asked = new Set<string>();
  readonly #failed = new Set<string>();
  /** Where a redirect led: asked without the registry until it refuses, as signed URLs do when they expire. */
  #location: Location | undefined;
  /** It arrives in a content coding, although that was refused: its ranges are not those of the blob. */
  #isEncoded = false;

  constructor(options: BlobOptions) {
    this.#options = options;
  }

  async open(
    range: { readonly start: number; readonly end?: number | undefined },
    options?: Cancel,
  ): Promise<BlobBody> {
    const { client, operation, size } = this.#options;
    const signals = [this.#options.signal, options?.signal].filter((signal) => signal !== undefined);
    const signal = signals.length > 1 ? AbortSignal.any(signals) : signals[0];
    const end = size === undefined || range.end === undefined ? range.end : Math.min(range.end, size);
    if (size !== undefined && range.start > size) {
      const detail = `there are ${range.start} bytes already, and the blob has only ${size}`;
      throw new Failure({ operation, side: 'source', code: 'partial-too-long', detail });
    }
    const wanted = { start: range.start, end };
    const reader = new BlobReader(wanted, {
      client,
      operation,
      size,
      signal,
      connect: (now) => this.#connect(now, signal),
      // Bytes from a stranger's address are no better than resumed ones: the registry deserves a try of its own.
      doubts: () => this.#changes + this.#asked.size,
    });
    await reader.start();
    return reader;
  }

  /**
   * One try to get the wanted bytes from anywhere: a foreign layer's own addresses, the registry, and then the addresses that
   * have failed, or that an earlier try for the whole blob has used.
   */
  async #connect(wanted: Wanted, signal: AbortSignal | undefined): Promise<Opening> {
    const { client, operation, urls = [] } = this.#options;
    const location = this.#location;
    if (location !== undefined) {
      const remembered = await this.#direct(location, wanted, signal);
      if (!(remembered instanceof Failure)) return remembered;
      this.#forget(location.url);
    }
    const isFresh = (url: string): boolean =>
      !this.#failed.has(url) && (this.#asked.has(url) || client.askedAddresses.get(url) === undefined);
    let foreign: Failure | undefined;
    const attempt = async (url: string, persistence: Persistence): Promise<Opening | undefined> => {
      const opening = await this.#foreign(url, wanted, signal, persistence);
      if (!(opening instanceof Failure)) return opening;
      this.#failed.add(url);
      foreign = opening;
      return undefined;
    };
    for (const url of urls.filter(isFresh)) {
      const opening = await attempt(url, 'once');
      if (opening !== undefined) return opening;
    }
    try {
      return await client.round(operation, (one) => this.#ask(one, wanted, signal), { by: 'digest', signal });
    } catch (thrown) {
      if (!(thrown instanceof Failure) || thrown.code !== 'blob-unknown') throw thrown;
      for (const url of urls) {
        const opening = await attempt(url, 'wait');
        if (opening !== undefined) return opening;
      }
      // A foreign layer need not be in the registry: then what its own addresses said counts.
      throw foreign ?? thrown;
    }
  }

  /** From an address that a manifest names for a foreign layer. */
  async #foreign(
    address: string,
    wanted: Wanted,
    signal: AbortSignal | undefined,
    persistence: Persistence,
  ): Promise<Opening | Failure> {
    const { client, operation } = this.#options;
    if (!URL.canParse(address)) return unusable(operation);
    const url = new URL(address);
    if (!client.mayAskForeign(url)) return notAllowed(operation, url);
    this.#asked.add(address);
    client.askedAddresses.set(address, true);
    const opening = await this.#direct({ url }, wanted, signal, persistence);
    if (opening instanceof Failure) return opening;
    const disappointed: Opening['disappointed'] = (failure, barren) => {
      this.#failed.add(address);
      opening.disappointed(failure, barren);
      this.#forget(opening.reply.url);
    };
    return { ...opening, disappointed };
  }

  async #ask({ endpoint, persistence }: Try, wanted: Wanted, signal: AbortSignal | undefined): Promise<Opening> {
    const { client, operation, repository, digest } = this.#options;
    const path = `/v2/${repository}/blobs/${digest}`;
    const ask: Ask = { operation, repository, method: 'GET', path, persistence };
    const reply = await this.#bytes((headers) => endpoint.send({ ...ask, headers }, signal), wanted);
    if (!isBytes(reply)) throw await client.refuse(reply, { endpoint, ask, subject: 'blob' }, signal);
    const opened = this.#judge(reply, wanted);
    if (!endpoint.owns(reply.url)) this.#location = { url: reply.url, namedBy: reply.namedBy, home: endpoint.home };
    return {
      reply,
      opened,
      disappointed: (failure, barren) => {
        client.rest(endpoint, failure);
        if (barren) this.#forget(reply.url);
      },
    };
  }

  /** A URL outside of the registry, which gets nothing that belongs to the registry. A refusal is an answer here. */
  async #direct(
    location: Location,
    wanted: Wanted,
    signal: AbortSignal | undefined,
    persistence: Persistence = 'once',
  ): Promise<Opening | Failure> {
    const { client, operation, repository } = this.#options;
    const { targets, now } = client.options;
    const { url, namedBy, home } = location;
    if (!/^https?:$/.test(url.protocol)) return unusable(operation);
    let reply: Reply;
    try {
      const request = { operation, method: 'GET', url, namedBy, persistence } as const;
      const get = (headers: Record<string, string>): Promise<Reply> =>
        targets.get({ request: { ...request, headers }, repository }, home, signal);
      reply = await this.#bytes(get, wanted);
    } catch (thrown) {
      const failure = sourceFailure(thrown, operation, signal);
      if (failure.code === 'aborted' || signal?.aborted === true) throw failure;
      return failure;
    }
    if (!isBytes(reply)) {
      const { status, headers } = reply;
      const body = await readExcerpt(reply, ERROR_BODY_BYTES);
      return refusal({ status, headers, body }, { operation, host: reply.url.host, subject: 'blob', now: now() });
    }
    let opened: Opened;
    try {
      opened = this.#judge(reply, wanted);
    } catch (thrown) {
      // A wrong length or range at this address says nothing about the other sources: the next one is asked.
      if (thrown instanceof Failure) return thrown;
      throw thrown;
    }
    this.#location = { url: reply.url, namedBy: reply.namedBy, home };
    return {
      reply,
      opened,
      disappointed: (_, barren) => {
        if (barren) this.#forget(reply.url);
      },
    };
  }

  /** Asks for the wanted bytes, and for the whole blob where ranges would be those of its encoded form. */
  async #bytes(send: (headers: Record<string, string>) => Promise<Reply>, wanted: Wanted): Promise<Reply> {
    const { operation, size } = this.#options;
    for (;;) {
      const whole = this.#isEncoded;
      const reply = await send(headersFor(whole ? WHOLE : wanted));
      const plain = isBytes(reply) ? await withoutCodings(reply, operation, size, whole) : reply;
      if (plain !== undefined) return plain;
      if (whole) throw new Failure({ ...RANGE_OF_ENCODED, operation, status: reply.status });
      this.#isEncoded = true;
    }
  }

  #judge(reply: Reply, wanted: Wanted): Opened {
    const { operation, size } = this.#options;
    const { origin, host } = reply.url;
    try {
      const opened = judge(reply, wanted, { size, total: this.#total }, { operation, host });
      this.#total ??= opened.total;
      const before = this.#etags.get(origin);
      if (before !== undefined && opened.etag !== before) this.#changes += 1;
      if (opened.etag !== undefined) this.#etags.set(origin, opened.etag);
      return opened;
    } catch (thrown) {
      reply.body.cancel();
      throw thrown;
    }
  }

  /** Unless another body has found a better one meanwhile. */
  #forget(location: URL): void {
    if (this.#location?.url.href === location.href) this.#location = undefined;
  }
}

const WHOLE: Wanted = { start: 0, end: undefined };

const RANGE_OF_ENCODED = {
  side: 'source',
  code: 'range-mismatch',
  detail: 'a range came where the whole blob was asked for',
} as const;

function headersFor(wanted: Wanted): Record<string, string> {
  const range = rangeHeader(wanted);
  return { accept: '*/*', ...(range === undefined ? {} : { range }) };
}

/** A reply whose range is then judged; all others are refusals. */
function isBytes({ status }: Reply): boolean {
  return status === 200 || status === 206 || status === 416;
}

function notAllowed(operation: string, { host }: URL): Failure {
  const detail = `a foreign layer names ${host}, which is not among the allowed hosts; --foreign-host ${host}, or foreignHosts in mirror.yaml, allows it`;
  return new Failure({ operation, side: 'source', code: 'denied', detail });
}

function unusable(operation: string): Failure {
  const detail = 'a foreign layer has an unusable address';
  return new Failure({ operation, side: 'source', code: 'invalid', detail });
}
