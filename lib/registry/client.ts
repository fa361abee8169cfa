import { Failure } from '../core/failure.ts';
import { Lru } from '../core/lru.ts';
import { retrying } from '../core/retry.ts';
import { Semaphore } from '../core/semaphore.ts';
import type { Digest } from '../oci/digest.ts';
import type { EndpointRequest, Endpoint } from './endpoint.ts';
import { refusal, registryErrors, sourceFailure } from './errors.ts';
import type { KnownTags } from './referrer-tags.ts';
import { retriesOf, type RetryOptions } from './http/retry-wait.ts';
import { readExcerpt } from './http/short.ts';
import type { Targets } from './targets.ts';
import type { Persistence, Reply } from './http/message.ts';

export interface ClientOptions {
  readonly host: string;
  /** In the order of preference; the last one decides that content does not exist. */
  readonly endpoints: readonly Endpoint[];
  readonly connections: number;
  readonly targets: Targets;
  /** Whether a foreign layer may be fetched from this URL. */
  readonly isForeignAllowed: (url: URL) => boolean;
  readonly retry: RetryOptions;
  readonly now: () => number;
}

/** One operation on a repository, with all its requests. */
export interface Operation {
  readonly client: RegistryClient;
  /** The path of the repository. */
  readonly repository: string;
  /** The name of the operation in failures. */
  readonly operation: string;
  readonly signal: AbortSignal | undefined;
}

/**
 * How a request names its content. Requests by tag go only to endpoints that resolve tags. The digest proves the response
 * to a request by digest, so every endpoint may serve it.
 */
export type NamedBy = 'tag' | 'digest';

export interface EndpointAttempt {
  readonly endpoint: Endpoint;
  /** The behaviour after a rate limit. */
  readonly persistence: Persistence;
  /** Whether a retryable failure ends the request. */
  readonly last: boolean;
}

const TRIED_ADDRESSES = 1024;

/** Blobs whose coding is kept. */
const ENCODED_BLOBS = 1024;

/** Repositories whose tags are kept. */
const REPOSITORIES = 64;

/** The minimum time for which a failed endpoint is tried after the others. */
const DEFER_MS = 60_000;

/** A registry: the endpoints behind one host name, and their shared state. */
export class RegistryClient {
  readonly options: ClientOptions;
  /** Each request holds one permit from before it is sent until its body has ended. */
  readonly permits: Semaphore;
  /**
   * The turn of a large manifest or list. It waits for its turn with a permit and an open body, and needs no other permit,
   * so that it always ends.
   */
  readonly largeBodies = new Semaphore(1);
  /** The turn of a large config. It waits for its turn without a permit, because it may need several in succession. */
  readonly largeBlobs = new Semaphore(1);
  /** The recently tried URLs of foreign layers; a second try for a layer starts with the registry. */
  readonly triedAddresses = new Lru<string, true>(TRIED_ADDRESSES);
  /** The blobs to which the registry applies a content coding, so that its ranges are not those of the blob. */
  readonly encodedBlobs = new Lru<Digest, true>(ENCODED_BLOBS);
  /** The tags that name referrers, by the path of the repository. */
  readonly referrerTags = new Lru<string, KnownTags>(REPOSITORIES);

  constructor(options: ClientOptions) {
    this.options = options;
    this.permits = new Semaphore(options.connections);
  }

  /** Sends a short request to every endpoint, or to the given one, and retries it after a wait. */
  async request<T>(
    options: Pick<Operation, 'operation' | 'signal'>,
    by: NamedBy | Endpoint,
    work: (one: EndpointAttempt) => Promise<T>,
  ): Promise<T> {
    const { retry } = this.options;
    const { operation, signal } = options;
    return retrying(
      (attempt) => {
        const last = attempt >= retry.policy.tries;
        return this.permits.with(() => this.round(options, by, work, last), signal);
      },
      retriesOf(retry, operation, signal),
    );
  }

  /**
   * Tries every permitted endpoint once, until one succeeds. After any failure the next endpoint is tried; the failure of
   * the last one in the list is thrown. Only the last endpoint waits for the end of a rate limit.
   */
  async round<T>(
    { operation, signal }: Pick<Operation, 'operation' | 'signal'>,
    by: NamedBy | Endpoint,
    work: (one: EndpointAttempt) => Promise<T>,
    last = false,
  ): Promise<T> {
    const { now } = this.options;
    const endpoints = this.#endpointsFor(by);
    const time = now();
    const order = endpoints.toSorted((a, b) => Number(a.deferredUntil > time) - Number(b.deferredUntil > time));
    let verdict: { readonly rank: number; readonly failure: Failure } | undefined;
    for (const endpoint of order) {
      const persistence = endpoint === order.at(-1) || endpoint === endpoints.at(-1) ? 'wait' : 'once';
      try {
        return await work({ endpoint, persistence, last });
      } catch (thrown) {
        const failure = sourceFailure(thrown, operation, signal);
        // Another endpoint cannot help after an invalid input or an abort.
        if (signal?.aborted === true || failure.code === 'aborted' || failure.side === 'input') throw failure;
        this.reportFailure(endpoint, failure);
        const rank = endpoints.indexOf(endpoint);
        if (verdict === undefined || rank > verdict.rank) verdict = { rank, failure };
      }
    }
    throw verdict?.failure ?? new Error(`no endpoint of ${this.options.host} may answer`);
  }

  #endpointsFor(by: NamedBy | Endpoint): readonly Endpoint[] {
    const { endpoints } = this.options;
    if (by === 'digest') return endpoints;
    return by === 'tag' ? endpoints.filter(({ resolves }) => resolves) : [by];
  }

  /** Defers an endpoint after a failure of its own. */
  reportFailure(endpoint: Endpoint, failure: Failure): void {
    if (failure.code === 'aborted') return;
    const isWrong = failure.code === 'unsupported' || failure.code === 'invalid' || failure.code === 'digest-mismatch';
    const unwell = failure.remedy === 'retry' || failure.code === 'network' || isWrong;
    if (unwell) endpoint.deferredUntil = this.options.now() + Math.max(DEFER_MS, failure.retryAfterMs ?? 0);
  }

  /** Maps an error response to a Failure, and frees its connection. */
  async refuse(
    reply: Reply,
    endpoint: Endpoint,
    ask: EndpointRequest,
    signal: AbortSignal | undefined,
  ): Promise<Failure> {
    const { status, headers, url } = reply;
    const { operation, subject } = ask;
    const body = await readExcerpt(reply);
    const own = endpoint.owns(url);
    const unexplained = own && status === 404 && headers['docker-distribution-api-version'] === undefined;
    if (unexplained && registryErrors(body).length === 0 && !(await endpoint.speaksV2(ask, signal))) {
      const detail = `${url.host} has no /v2/ API; it is not a registry, or supports only the obsolete v1 protocol`;
      return new Failure({ operation, side: 'source', code: 'unsupported', detail, status });
    }
    const login = url.username === '' ? undefined : 'the user in the URL of the redirect is not sent';
    const denied = status === 401 || status === 403;
    const hint = own && denied ? await endpoint.hint(ask.repository, signal) : login;
    return refusal({ status, headers, body }, { operation, host: url.host, subject, now: this.options.now(), hint });
  }
}
