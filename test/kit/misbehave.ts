import type { TestRegistry } from './registry.ts';

export type RequestKind = 'ping' | 'manifest' | 'blob' | 'tags' | 'referrers' | 'token' | 'other';

/** The affected requests: each given field must be equal. */
export interface Match {
  readonly method?: string;
  readonly kind?: RequestKind;
  readonly repository?: string;
  readonly digest?: string;
  readonly tag?: string;
  /** Whether the request has a Range. */
  readonly ranged?: boolean;
}

export interface Rule {
  readonly match?: Match;
  /** The number of matching requests that are affected; all by default. */
  readonly times?: number;
  /** The number of matching requests that pass first. */
  readonly after?: number;
  /** Decides for each matching request whether it is affected. */
  readonly when?: () => boolean;
  readonly do: Misbehaviour;
}

/** Misbehaviour of a registry, or of a proxy in front of it. If several rules match, all apply. */
export interface Misbehaviour {
  /** Another status: 429 and 5xx of a busy registry, 404 of one that lags behind its own index. */
  readonly status?: number;
  /** With `status`: its body; an object is sent as JSON. `errorBody` makes the distribution spec's. */
  readonly body?: string | Uint8Array | object;
  /** Set over the right answer's (or `status`'s) headers; null removes: proxies that drop or rewrite headers. */
  readonly headers?: Readonly<Record<string, string | null>>;
  /** Cuts the connection after this number of bytes of the body: a load balancer's time limit, a restarted backend. */
  readonly cutAfter?: number;
  /**
   * Ends the body early without an error and without Content-Length: a proxy that hides that its upstream broke off.
   */
  readonly endAfter?: number;
  /** Changes the byte at this offset of the blob: a corrupt disk, a cache that mixed two objects. */
  readonly flipByteAt?: number;
  /** 200 with the whole blob for any requested range: Cloudflare's serverless-registry, many caches. */
  readonly ignoreRange?: boolean;
  /**
   * 206, but for another range than was asked for (a cache that answers with its own slices), or with another total
   * length (the object was replaced underneath). The headers describe the bytes that are sent.
   */
  readonly wrongContentRange?: true | 'total';
  /** Chunked, without Content-Length: registries behind a proxy that streams. */
  readonly noContentLength?: boolean;
  /** Sends this number of bytes of the body and then stalls: a connection that a firewall dropped. */
  readonly stallAfter?: number;
  /** Accepts the request and never answers: a backend that hangs. */
  readonly noAnswer?: boolean;
  /** Cuts the connection without a response. */
  readonly hangUp?: boolean;
  /** 307 to a signed address on another host, as most registries do for blobs (S3, Cloudflare, Azure). */
  readonly redirectTo?: TestRegistry;
  /**
   * The number of requests that such an address answers before it is 403: signatures expire in the middle of a large
   * blob.
   */
  readonly expires?: number;
  /** Another strong ETag with every response: backends behind one address that disagree. */
  readonly changeEtag?: boolean;
}

/** An active rule. */
export interface Misbehaving {
  /** The number of affected requests. */
  readonly hits: () => number;
  /** Resolves when it first takes effect: for `stallAfter`, when the last byte has been sent. */
  readonly begun: Promise<void>;
  /** Withdraws the rule; responses that it holds back continue. */
  stop(): void;
}

/** The body of an error response (OCI distribution spec, "Error Codes"). */
export function errorBody(code: string, message: string, detail?: unknown): object {
  return { errors: [{ code, message, ...(detail === undefined ? {} : { detail }) }] };
}

export interface Described {
  readonly method: string;
  readonly kind: RequestKind;
  readonly repository?: string | undefined;
  readonly digest?: string | undefined;
  readonly tag?: string | undefined;
  readonly ranged: boolean;
}

/** The misbehaviour of one response, with the handles by which the test controls it. */
export interface Spoiling extends Misbehaviour {
  readonly stall: { readonly begin: () => void; readonly released: Promise<void> };
}

export class Rules {
  readonly #active = new Set<ActiveRule>();

  add(rule: Rule): Misbehaving {
    const active = new ActiveRule(rule);
    this.#active.add(active);
    return {
      hits: () => active.hits,
      begun: active.begun.promise,
      stop: () => {
        this.#active.delete(active);
        active.released.resolve(undefined);
      },
    };
  }

  /** Counts the request against every matching rule, and returns their effect on its response. */
  for(request: Described): Spoiling | undefined {
    const fitting = [...this.#active].filter((active) => active.takes(request));
    if (fitting.length === 0) return undefined;
    const merged = fitting.reduce<Misbehaviour>((sum, { rule }) => ({ ...sum, ...rule.do }), {});
    const stalling = fitting.filter(({ stalls }) => stalls);
    for (const active of fitting) if (!active.stalls) active.begun.resolve(undefined);
    return {
      ...merged,
      stall: {
        begin: () => {
          for (const active of stalling) active.begun.resolve(undefined);
        },
        released: Promise.all(fitting.map(({ released }) => released.promise)).then(() => undefined),
      },
    };
  }
}

class ActiveRule {
  readonly rule: Rule;
  readonly begun = Promise.withResolvers<undefined>();
  readonly released = Promise.withResolvers<undefined>();
  hits = 0;
  #seen = 0;

  constructor(rule: Rule) {
    this.rule = rule;
  }

  get stalls(): boolean {
    return this.rule.do.stallAfter !== undefined;
  }

  takes(request: Described): boolean {
    const { match = {}, after = 0, times = Infinity, when } = this.rule;
    const fits = (Object.keys(match) as (keyof Match)[]).every((field) => match[field] === request[field]);
    if (!fits) return false;
    if (when?.() === false) return false;
    this.#seen += 1;
    if (this.#seen <= after || this.hits >= times) return false;
    this.hits += 1;
    return true;
  }
}
