/** Logins to private registries of Amazon ECR, with a token from ECR's API that is valid for 12 hours. */
import { Failure } from '../lib/core/failure.ts';
import type { Credential, Credentials } from '../lib/registry/auth/credentials.ts';
import { type EcrPlace, ecrPlaceOf } from '../lib/webhook/ecr-hosts.ts';

/** A token is renewed this long before it expires, so that it outlasts an invocation. */
const MARGIN_MS = 30 * 60_000;

interface Login {
  readonly credential: Credential;
  /** Milliseconds since the epoch. */
  readonly until: number;
}

/** Adds tokens for ECR's hosts to other credentials, which take precedence. */
export class EcrCredentials implements Credentials {
  readonly #others: Credentials;
  readonly #now: () => number;
  readonly #logins = new Map<string, Promise<Login>>();
  #until = Infinity;

  constructor(others: Credentials, now: () => number = Date.now) {
    this.#others = others;
    this.#now = now;
  }

  /** Whether a returned token is about to expire. */
  get stale(): boolean {
    return this.#now() >= this.#until;
  }

  async find(...[host, path, options]: Parameters<Credentials['find']>): Promise<Credential | undefined> {
    const known = await this.#others.find(host, path, options);
    const place = known === undefined ? ecrPlaceOf(host) : undefined;
    if (place === undefined) return known;
    const key = `${place.region}${place.fips ? ' fips' : ''}`;
    const asked = this.#logins.get(key) ?? logIn(place);
    this.#logins.set(key, asked);
    try {
      const { credential, until } = await asked;
      this.#until = Math.min(this.#until, until);
      return credential;
    } catch (error) {
      this.#logins.delete(key);
      throw error;
    }
  }
}

/** One token is valid for all registries of a region, including those of other accounts. */
async function logIn({ region, fips }: EcrPlace): Promise<Login> {
  try {
    // The client is loaded on demand.
    const { authorizationFor } = await import('./ecr-client.ts');
    const data = await authorizationFor(region, fips);
    const decoded = Buffer.from(data?.authorizationToken ?? '', 'base64').toString();
    const colon = decoded.indexOf(':');
    if (data?.expiresAt === undefined || colon < 0) throw new Error('the response has no token');
    const from = `ECR’s token for ${region}`;
    const credential = { username: decoded.slice(0, colon), password: decoded.slice(colon + 1), from };
    return { credential, until: data.expiresAt.getTime() - MARGIN_MS };
  } catch (error) {
    throw refused(region, error);
  }
}

function refused(region: string, error: unknown): Failure {
  const { name, message } = error as Error;
  const denied = name === 'AccessDeniedException';
  return new Failure({
    operation: `log in to ECR in ${region}`,
    side: 'source',
    code: denied ? 'denied' : 'unavailable',
    detail: denied ? `${message}; deploy with --param ecrPull=on` : message,
    cause: error,
  });
}
