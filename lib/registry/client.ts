import { Failure } from '../core/failure.ts';
import { Lru } from '../core/lru.ts';
import { Semaphore } from '../core/semaphore.ts';
import type { Ask, Endpoint } from './endpoint.ts';
import { ERROR_BODY_BYTES, refusal, registryErrors, sourceFailure, type Subject } from './errors.ts';
import type { PacedWire } from './http/paced-wire.ts';
import { waitOrThrow, type Patience } from './http/patience.ts';
import { readExcerpt } from './http/short.ts';
import type { Targets } from './targets.ts';
import type { Persistence, Reply } from './http/message.ts';

export interface ClientOptions {
  readonly host: string;
  /** In the order of preference; the last one is the authority on what does not exist. */
  readonly endpoints: readonly Endpoint[];
  readonly connections: number;
  readonly wire: PacedWire;
  readonly targets: Targets;
  /** Whether a foreign layer may be fetched from this address. */
  readonly mayAskForeign: (url: URL) => boolean;
  readonly patience: Patience;
  readonly now: () => number;
}

/**
 * What names the content that a request is about. The answer to a request by tag decides what the tag means, or which tags
 * exist, so only endpoints that resolve tags are asked. The digest proves the answer to a request by digest, so every
 * endpoint may be asked.
 */
export type NamedBy = 'tag' | 'digest';

/** One try at one endpoint. */
export interface Try {
  readonly endpoint: Endpoint;
  /** What to do where the endpoint refuses the request for a rate limit. */
  readonly persistence: Persistence;
  /** Whether a failure that a retry may help ends the request. */
  readonly last: boolean;
}

const ASKED_ADDRESSES = 1024;

/** How long an endpoint that was not well is asked after the others, at least. */
const REST_MS = 60_000;

/** A registry: the endpoints behind one host name, with what they share. */
export class RegistryClient {
  readonly options: ClientOptions;
  /** One is held by every request, from before it is sent until its body has ended. */
  readonly permits: Semaphore;
  /** Addresses of foreign layers that were asked lately, so that a second try for a layer begins with the registry. */
  readonly askedAddresses = new Lru<string, true>(ASKED_ADDRESSES);

  constructor(options: ClientOptions) {
    this.options = options;
    this.permits = new Semaphore(options.connections);
  }

  mayAskForeign(url: URL): boolean {
    return this.options.mayAskForeign(url);
  }

  /** A short request: tried at every endpoint, and again after a wait where that may help. */
  async request<T>(
    operation: string,
    work: (one: Try) => Promise<T>,
    { by, signal }: { readonly by: NamedBy; readonly signal: AbortSignal | undefined },
  ): Promise<T> {
    for (let attempt = 1; ; attempt += 1) {
      const last = attempt >= this.options.patience.policy.tries;
      try {
        try {
          return await this.permits.with(() => this.round(operation, work, { by, last, signal }), signal);
        } catch (thrown) {
          await waitOrThrow(sourceFailure(thrown, operation, signal), attempt, this.options.patience, signal);
        }
      } catch (thrown) {
        throw sourceFailure(thrown, operation, signal);
      }
    }
  }

  /**
   * Every endpoint that may answer once, until one does it. An endpoint is only a way to the image, so whatever it fails with, the next
   * one is asked; what the last of the list says is what is thrown. A rate limit is waited out where there is no other
   * endpoint to ask, and at the last of the list.
   */
  async round<T>(
    operation: string,
    work: (one: Try) => Promise<T>,
    {
      by,
      last = false,
      signal,
    }: { readonly by: NamedBy; readonly last?: boolean; readonly signal: AbortSignal | undefined },
  ): Promise<T> {
    const { now } = this.options;
    const endpoints = by === 'tag' ? this.options.endpoints.filter(({ resolves }) => resolves) : this.options.endpoints;
    const time = now();
    const order = endpoints.toSorted((a, b) => Number(a.restsUntil > time) - Number(b.restsUntil > time));
    let verdict: { readonly rank: number; readonly failure: Failure } | undefined;
    for (const endpoint of order) {
      const persistence = endpoint === order.at(-1) || endpoint === endpoints.at(-1) ? 'wait' : 'once';
      try {
        return await work({ endpoint, persistence, last });
      } catch (thrown) {
        const failure = sourceFailure(thrown, operation, signal);
        // What the user has to mend, or has stopped, is not for another endpoint.
        if (signal?.aborted === true || failure.code === 'aborted' || failure.side === 'input') throw failure;
        this.rest(endpoint, failure);
        const rank = endpoints.indexOf(endpoint);
        if (verdict === undefined || rank > verdict.rank) verdict = { rank, failure };
      }
    }
    throw verdict?.failure ?? new Error(`no endpoint of ${this.options.host} may answer`);
  }

  /** Takes note of an endpoint's failure, where it is its own. */
  rest(endpoint: Endpoint, failure: Failure): void {
    if (failure.code === 'aborted') return;
    const isWrong = failure.code === 'unsupported' || failure.code === 'invalid' || failure.code === 'digest-mismatch';
    const unwell = failure.remedy === 'retry' || failure.code === 'network' || isWrong;
    if (unwell) endpoint.restsUntil = this.options.now() + Math.max(REST_MS, failure.retryAfterMs ?? 0);
  }

  /** A reply that is not what was hoped for, as a Failure; its connection is free afterwards. */
  async refuse(
    reply: Reply,
    { endpoint, ask, subject }: { readonly endpoint: Endpoint; readonly ask: Ask; readonly subject: Subject },
    signal?: AbortSignal,
  ): Promise<Failure> {
    const { status, headers, url } = reply;
    const body = await readExcerpt(reply, ERROR_BODY_BYTES);
    const own = endpoint.owns(url);
    const unexplained = own && status === 404 && headers['docker-distribution-api-version'] === undefined;
    if (unexplained && registryErrors(body).length === 0 && !(await endpoint.speaksV2(ask, signal)))
      return new Failure({
        operation: ask.operation,
        side: 'source',
        code: 'unsupported',
        detail: `${url.host} has no /v2/: it is not a registry, or speaks only the v1 protocol, which is long gone`,
        status,
      });
    const hint = own && (status === 401 || status === 403) ? await endpoint.hint(ask.repository, signal) : undefined;
    return refusal(
      { status, headers, body },
      { operation: ask.operation, host: url.host, subject, now: this.options.now(), hint },
    );
  }
}
