import { Failure } from '../core/failure.ts';
import type { Digest } from '../oci/digest.ts';
import { BlobReader, type OpenResponse } from './blob-reader.ts';
import type { EndpointAttempt, Operation } from './client.ts';
import { withoutCodings } from './http/decoding.ts';
import type { EndpointRequest } from './endpoint.ts';
import { refusal, sourceFailure, stopped } from './errors.ts';
import { locate } from './http/location.ts';
import { checkResponse, rangeHeader, type BlobResponse, type ByteRange } from './http/range.ts';
import type { BlobSource, Cancel } from './source.ts';
import { readExcerpt } from './http/short.ts';
import type { Persistence, Reply } from './http/message.ts';

export interface BlobOptions extends Operation {
  readonly digest: Digest;
  readonly size?: number | undefined;
  readonly urls?: readonly string[] | undefined;
}

/** The location of a blob outside of the registry. */
interface Location {
  readonly url: URL;
  /** The URL that named this one; a document of the registry if undefined. */
  readonly namedBy?: URL | undefined;
  /** The endpoint that redirected; a redirect back to it gets no authorization. */
  readonly home?: URL | undefined;
}

export class RegistryBlob implements BlobSource {
  readonly #options: BlobOptions;
  readonly #etags = new Map<string, string>();
  #total: number | undefined;
  /** The responses whose ETag differed from an earlier one; a digest mismatch may then come from mixed versions. */
  #changes = 0;
  /** The URLs of a foreign layer that were tried, and those that have failed for any reason. */
  readonly #triedUrls = new Set<string>();
  readonly #failedUrls = new Set<string>();
  /** The target of the last redirect. Requests go to it directly until it refuses one, as an expired signed URL does. */
  #location: Location | undefined;

  constructor(options: BlobOptions) {
    this.#options = options;
  }

  async open(
    range: { readonly start: number; readonly end?: number | undefined },
    options?: Cancel,
  ): Promise<BlobReader> {
    const { operation, size } = this.#options;
    const signals = [this.#options.signal, options?.signal].filter((signal) => signal !== undefined);
    const signal = signals.length > 1 ? AbortSignal.any(signals) : signals[0];
    const end = size === undefined || range.end === undefined ? range.end : Math.min(range.end, size);
    if (size !== undefined && range.start > size) {
      const detail = `the partial upload is longer than the blob: expected at most ${size} bytes, got ${range.start}`;
      throw new Failure({ operation, side: 'source', code: 'partial-too-long', detail });
    }
    const wanted = { start: range.start, end };
    const reader = new BlobReader(wanted, {
      ...this.#options,
      signal,
      connect: (now) => this.#connect(now, signal),
      // After a digest mismatch of bytes from a foreign URL, the registry is tried.
      otherRetryReasons: () => this.#changes + this.#triedUrls.size,
    });
    await reader.start();
    return reader;
  }

  /**
   * Requests the bytes from each location once: first the URLs of a foreign layer, then the registry, and then the URLs
   * that have failed or that an earlier try for the whole blob has used.
   */
  async #connect(wanted: ByteRange, signal: AbortSignal | undefined): Promise<OpenResponse> {
    const { client, operation, urls = [] } = this.#options;
    const location = this.#location;
    if (location !== undefined) {
      const remembered = await this.#fromUrl(location, wanted, signal);
      if (!(remembered instanceof Failure)) return remembered;
      this.#forget(location.url);
    }
    const isFresh = (url: string): boolean =>
      !this.#failedUrls.has(url) && (this.#triedUrls.has(url) || client.triedAddresses.get(url) === undefined);
    let foreign: Failure | undefined;
    const attempt = async (url: string, persistence: Persistence): Promise<OpenResponse | undefined> => {
      const opening = await this.#fromForeign(url, wanted, signal, persistence);
      if (!(opening instanceof Failure)) return opening;
      this.#failedUrls.add(url);
      foreign = opening;
      return undefined;
    };
    for (const url of urls.filter(isFresh)) {
      const opening = await attempt(url, 'once');
      if (opening !== undefined) return opening;
    }
    try {
      return await client.round({ operation, signal }, 'digest', (one) => this.#fromEndpoint(one, wanted, signal));
    } catch (thrown) {
      if (!(thrown instanceof Failure) || thrown.code !== 'blob-unknown') throw thrown;
      for (const url of urls) {
        const opening = await attempt(url, 'wait');
        if (opening !== undefined) return opening;
      }
      // A foreign layer may be missing in the registry; the failures of its URLs then explain more.
      throw foreign ?? thrown;
    }
  }

  /** Requests the bytes from a URL of a foreign layer. */
  async #fromForeign(
    address: string,
    wanted: ByteRange,
    signal: AbortSignal | undefined,
    persistence: Persistence,
  ): Promise<OpenResponse | Failure> {
    const { client, operation } = this.#options;
    const url = locate(address);
    if (url === undefined) return unusable(operation);
    if (!client.options.isForeignAllowed(url)) return notAllowed(operation, url);
    this.#triedUrls.add(address);
    client.triedAddresses.set(address, true);
    const opening = await this.#fromUrl({ url }, wanted, signal, persistence);
    if (opening instanceof Failure) return opening;
    const onBodyError: OpenResponse['onBodyError'] = (failure, isEmpty) => {
      this.#failedUrls.add(address);
      opening.onBodyError(failure, isEmpty);
      this.#forget(opening.reply.url);
    };
    return { ...opening, onBodyError };
  }

  async #fromEndpoint(
    { endpoint, persistence }: EndpointAttempt,
    wanted: ByteRange,
    signal: AbortSignal | undefined,
  ): Promise<OpenResponse> {
    const { client, operation, repository, digest } = this.#options;
    const path = `/v2/${repository}/blobs/${digest}`;
    const ask: EndpointRequest = { operation, repository, subject: 'blob', method: 'GET', path, persistence };
    const reply = await this.#bytes((headers) => endpoint.send({ ...ask, headers }, signal), wanted);
    if (!isBytes(reply)) throw await client.refuse(reply, endpoint, ask, signal);
    const opened = this.#checkResponse(reply, wanted);
    if (!endpoint.owns(reply.url)) this.#location = { url: reply.url, namedBy: reply.namedBy, home: endpoint.home };
    return {
      reply,
      opened,
      onBodyError: (failure, isEmpty) => {
        client.reportFailure(endpoint, failure);
        if (isEmpty) this.#forget(reply.url);
      },
    };
  }

  /** Requests the bytes from a URL outside of the registry, without the registry's credentials. Returns a refusal. */
  async #fromUrl(
    location: Location,
    wanted: ByteRange,
    signal: AbortSignal | undefined,
    persistence: Persistence = 'once',
  ): Promise<OpenResponse | Failure> {
    const { client, operation, repository } = this.#options;
    const { targets, now } = client.options;
    const { url, namedBy, home } = location;
    if (!/^https?:$/.test(url.protocol)) return unusable(operation);
    const request = { operation, method: 'GET', url, namedBy, persistence } as const;
    const get = (headers: Record<string, string>): Promise<Reply> =>
      targets.get({ request: { ...request, headers }, repository }, home, signal);
    try {
      const reply = await this.#bytes(get, wanted);
      if (!isBytes(reply)) {
        const { status, headers } = reply;
        const body = await readExcerpt(reply);
        return refusal({ status, headers, body }, { operation, host: reply.url.host, subject: 'blob', now: now() });
      }
      const opened = this.#checkResponse(reply, wanted);
      this.#location = { url: reply.url, namedBy: reply.namedBy, home };
      const onBodyError: OpenResponse['onBodyError'] = (_, isEmpty) => {
        if (isEmpty) this.#forget(reply.url);
      };
      return { reply, opened, onBodyError };
    } catch (thrown) {
      // A problem at this URL, such as a size mismatch, says nothing about the other sources; the next one is tried.
      const failure = sourceFailure(thrown, operation, signal);
      if (signal?.aborted === true) throw stopped(operation, signal);
      if (failure.code === 'aborted') throw failure;
      return failure;
    }
  }

  /** Requests the bytes, or the whole blob if ranges would be those of its encoded form. */
  async #bytes(send: (headers: Record<string, string>) => Promise<Reply>, wanted: ByteRange): Promise<Reply> {
    const { client, operation, size, digest } = this.#options;
    const learn = (isEncoded: boolean): void => {
      if (isEncoded) client.encodedBlobs.set(digest, true);
      else client.encodedBlobs.delete(digest);
    };
    for (;;) {
      const whole = client.encodedBlobs.get(digest) === true;
      const reply = await send(headersFor(whole ? WHOLE : wanted));
      const plain = isBytes(reply) ? await withoutCodings(reply, { operation, size, isKnown: whole, learn }) : reply;
      if (plain !== undefined) return plain;
      if (whole) {
        const detail = 'the registry sent a range instead of the whole blob';
        throw new Failure({ operation, side: 'source', code: 'range-mismatch', detail, status: reply.status });
      }
      learn(true);
    }
  }

  #checkResponse(reply: Reply, wanted: ByteRange): BlobResponse {
    const { operation, size } = this.#options;
    const { origin, host } = reply.url;
    try {
      const opened = checkResponse(reply, wanted, { size, total: this.#total }, { operation, host });
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

  /** Forgets the location, unless another body has already replaced it. */
  #forget(location: URL): void {
    if (this.#location?.url.href === location.href) this.#location = undefined;
  }
}

const WHOLE: ByteRange = { start: 0, end: undefined };

function headersFor(wanted: ByteRange): Record<string, string> {
  const range = rangeHeader(wanted);
  return { accept: '*/*', ...(range === undefined ? {} : { range }) };
}

/** Whether the range of the reply must be checked; all other replies are refusals. */
function isBytes({ status }: Reply): boolean {
  return status === 200 || status === 206 || status === 416;
}

function notAllowed(operation: string, { host }: URL): Failure {
  const detail = `the foreign layer is at ${host}, which is not an allowed host; to allow it, use --foreign-host ${host} or foreignHosts in mirror.yaml`;
  return new Failure({ operation, side: 'source', code: 'denied', detail });
}

function unusable(operation: string): Failure {
  const detail = 'the foreign layer has an invalid URL';
  return new Failure({ operation, side: 'source', code: 'invalid', detail });
}
