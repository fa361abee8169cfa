import type { Failure } from '../../core/failure.ts';
import { refusal, type ErrorResponse } from '../errors.ts';
import { Pace, type PaceOptions } from './pace.ts';
import { Refused, type PacedRequest } from './paced-request.ts';
import { isRefusal } from './retry-wait.ts';
import { readExcerpt, withText } from './short.ts';
import type { Wire } from './wire.ts';
import type { HttpRequest, Reply } from './message.ts';

export type PlainWire = Pick<Wire, 'send' | 'speaksTls' | 'proxyTo'>;

/**
 * The maximum refusals of one request while others are accepted, as a multiple of the usual tries. A 503 is then a
 * failure of this request; a 429 is always a rate limit.
 */
const OVERTAKEN_503 = 2;
const OVERTAKEN_429 = 10;

/** Statuses whose body may name a rate limit. */
const UNDECIDED: ReadonlySet<number> = new Set([400, 403, 429, 503]);

/** Statuses below 500 that say nothing about a rate limit. */
const NEUTRAL: ReadonlySet<number> = new Set([400, 401, 403, 407, 408, 425]);

/** Sends requests at the rate that each host accepts. All wires of a process share one map of paces. */
export class PacedWire implements PlainWire {
  readonly #wire: PlainWire;
  readonly #options: PaceOptions;
  readonly #paces: Map<string, Pace>;

  constructor(wire: PlainWire, options: PaceOptions, paces = new Map<string, Pace>()) {
    this.#wire = wire;
    this.#options = options;
    this.#paces = paces;
  }

  async send(request: HttpRequest, signal?: AbortSignal): Promise<Reply> {
    const pace = this.#paceOf(request.url);
    const paced = pace.paced(kindOf(request));
    for (;;) {
      await this.#take(pace, paced, request, signal);
      let reply: Reply;
      let body: string | undefined;
      try {
        reply = await this.#wire.send(request, signal);
        if (UNDECIDED.has(reply.status)) body = await readExcerpt(reply);
      } catch (thrown) {
        pace.ended(paced);
        throw thrown;
      }
      if (body === undefined) {
        this.#note(pace, paced, reply);
        return reply;
      }
      if (!this.#judge(pace, paced, reply, body, request)) return withText(reply, body);
    }
  }

  speaksTls(url: URL): boolean {
    return this.#wire.speaksTls(url);
  }

  proxyTo(url: URL): string | undefined {
    return this.#wire.proxyTo(url);
  }

  /** This host refused requests for another reason than a rate limit. */
  resetPace(url: URL): void {
    this.#paceOf(url).resetPace();
  }

  async #take(pace: Pace, paced: PacedRequest, request: HttpRequest, signal: AbortSignal | undefined): Promise<void> {
    try {
      await pace.take(paced, request.persistence, signal);
    } catch (thrown) {
      throw thrown instanceof Refused ? this.#failure(thrown.answer, request) : thrown;
    }
  }

  #note(pace: Pace, paced: PacedRequest, { status }: Reply): void {
    if (status < 500 && !NEUTRAL.has(status)) pace.passed(paced);
    else pace.ended(paced);
  }

  /** Whether the request is sent again. */
  #judge(pace: Pace, paced: PacedRequest, reply: Reply, body: string, request: HttpRequest): boolean {
    const answer = { status: reply.status, headers: reply.headers, body };
    const failure = this.#failure(answer, request);
    if (!isRefusal(failure)) {
      this.#note(pace, paced, reply);
      return false;
    }
    const afterMs = pace.refused(paced, answer, failure.code === 'rate-limited');
    const { retry } = this.#options;
    if (!this.#persists(pace, paced, request, failure) || afterMs > (retry.longestMs ?? Infinity)) return false;
    retry.onRetry?.({ failure, attempt: paced.refusals, afterMs });
    return true;
  }

  #persists(pace: Pace, paced: PacedRequest, { method, persistence = 'wait' }: HttpRequest, failure: Failure): boolean {
    const { tries } = this.#options.retry.policy;
    if (persistence !== 'wait' || pace.isExhausted(paced)) return false;
    // Some registries refuse every HEAD; the caller then tries GET.
    if (method === 'HEAD' && paced.refusals >= tries && !pace.wasAccepted(paced)) return false;
    return paced.overtaken < tries * (failure.code === 'rate-limited' ? OVERTAKEN_429 : OVERTAKEN_503);
  }

  #failure(answer: ErrorResponse, { operation, url }: HttpRequest): Failure {
    return refusal(answer, { operation, host: url.host, subject: 'manifest', now: this.#options.now() });
  }

  #paceOf({ host }: URL): Pace {
    let pace = this.#paces.get(host);
    if (pace === undefined) {
      pace = new Pace(this.#options);
      this.#paces.set(host, pace);
    }
    return pace;
  }
}

/** Registries limit kinds of requests separately: Docker Hub counts GET of manifests, but not HEAD. */
function kindOf({ method, url }: HttpRequest): string {
  const [, kind = 'other'] = /\/(manifests|blobs|tags)\//.exec(url.pathname) ?? [];
  return `${method} ${kind}`;
}
