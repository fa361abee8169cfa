import type { Failure } from '../../core/failure.ts';
import { ERROR_BODY_BYTES, refusal, type Answer } from '../errors.ts';
import { Pace, type PaceOptions } from './pace.ts';
import { Refused, type Ticket } from './ticket.ts';
import { isRefusal } from './patience.ts';
import { readExcerpt } from './short.ts';
import type { Wire } from './wire.ts';
import type { HttpRequest, Reply, ReplyBody } from './message.ts';

/** What is paced. */
export type PlainWire = Pick<Wire, 'send' | 'speaksTls' | 'proxyTo'>;

/**
 * Refusals of one request, as a multiple of the usual tries, while others are let through. A 503 is then this request's own
 * failure; a 429 is a rate limit by definition.
 */
const OVERTAKEN_503 = 2;
const OVERTAKEN_429 = 10;

/** Statuses whose body may say that the request is refused for a rate limit. */
const UNDECIDED: ReadonlySet<number> = new Set([400, 403, 429, 503]);

/** Statuses below 500 that say nothing about a rate limit. */
const NEUTRAL: ReadonlySet<number> = new Set([400, 401, 403, 407, 408, 425]);

/** Sends requests at the rate that each host lets through. One map of paces serves all wires of a process. */
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
    const ticket = pace.ticket(kindOf(request));
    for (;;) {
      await this.#take(pace, ticket, request, signal);
      let reply: Reply;
      let body: string | undefined;
      try {
        reply = await this.#wire.send(request, signal);
        if (UNDECIDED.has(reply.status)) body = await readExcerpt(reply, ERROR_BODY_BYTES);
      } catch (thrown) {
        pace.ended(ticket);
        throw thrown;
      }
      const again =
        body === undefined ? this.#note(pace, ticket, reply) : this.#judge(pace, ticket, reply, body, request);
      if (!again) return body === undefined ? reply : replayed(reply, body);
    }
  }

  speaksTls(url: URL): boolean {
    return this.#wire.speaksTls(url);
  }

  proxyTo(url: URL): string | undefined {
    return this.#wire.proxyTo(url);
  }

  /** That requests which this host refused were refused for another reason than a rate limit. */
  forgive(url: URL): void {
    this.#paceOf(url).forgive();
  }

  async #take(pace: Pace, ticket: Ticket, request: HttpRequest, signal: AbortSignal | undefined): Promise<void> {
    try {
      await pace.take(ticket, request.persistence === 'at-once' ? 'at-once' : 'wait', signal);
    } catch (thrown) {
      throw thrown instanceof Refused ? this.#failure(thrown.answer, request) : thrown;
    }
  }

  #note(pace: Pace, ticket: Ticket, { status }: Reply): false {
    if (status < 500 && !NEUTRAL.has(status)) pace.passed(ticket);
    else pace.ended(ticket);
    return false;
  }

  /** Resolves to whether the request is sent again. */
  #judge(pace: Pace, ticket: Ticket, reply: Reply, body: string, request: HttpRequest): boolean {
    const answer = { status: reply.status, headers: reply.headers, body };
    const failure = this.#failure(answer, request);
    if (!isRefusal(failure)) return this.#note(pace, ticket, reply);
    const afterMs = pace.refused(ticket, answer, failure.code === 'rate-limited');
    const { patience } = this.#options;
    if (!this.#persists(pace, ticket, request, failure) || afterMs > (patience.longestMs ?? Infinity)) return false;
    patience.onRetry?.({ failure, attempt: ticket.refusals, afterMs });
    return true;
  }

  #persists(pace: Pace, ticket: Ticket, { method, persistence = 'wait' }: HttpRequest, failure: Failure): boolean {
    const { tries } = this.#options.patience.policy;
    if (persistence !== 'wait' || pace.isHopeless(ticket)) return false;
    // Some registries refuse every HEAD: then GET has to be tried.
    if (method === 'HEAD' && ticket.refusals >= tries && !pace.isOpened(ticket)) return false;
    return ticket.overtaken < tries * (failure.code === 'rate-limited' ? OVERTAKEN_429 : OVERTAKEN_503);
  }

  #failure(answer: Answer, { operation, url }: HttpRequest): Failure {
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

/** Registries count some kinds of request and not others: Docker Hub counts GET of manifests, and no HEAD. */
function kindOf({ method, url }: HttpRequest): string {
  const [, kind = 'other'] = /\/(manifests|blobs|tags)\//.exec(url.pathname) ?? [];
  return `${method} ${kind}`;
}

/** A reply whose short body was read already, and decoded. */
function replayed(reply: Reply, text: string): Reply {
  let rest: Buffer | undefined = Buffer.from(text, 'utf8');
  const { 'content-encoding': _, ...headers } = reply.headers;
  const body: ReplyBody = {
    read: () => {
      const chunk = rest;
      rest = undefined;
      return Promise.resolve(chunk);
    },
    cancel: () => {
      rest = undefined;
    },
    expectShort: () => undefined,
  };
  return { ...reply, headers, body };
}
