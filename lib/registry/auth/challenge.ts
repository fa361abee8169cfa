import { type Challenge, parseChallenges } from '../../core/http/challenge.ts';
import type { Reply } from '../http/message.ts';
import type { Credential } from './credentials.ts';

/** The token that a Bearer challenge requests (distribution's token authentication specification). */
export interface TokenRequest {
  readonly realm: string;
  readonly service: string;
  readonly scope: string;
  /** The registry's name in credentials. */
  readonly registry: string;
  /** The URL that sent the challenge. */
  readonly namedBy: URL;
}

/** Whether challenges name a scheme that can be answered; some registries send an empty header. */
function isAnswerable(challenges: readonly Challenge[]): boolean {
  return challenges.some(({ scheme }) => scheme === 'bearer' || scheme === 'basic');
}

/**
 * Whether a status refuses a request that may lack an authorization. Some registries hide what a client may not see with
 * 403, 404 or 400; the other statuses below 500 have a meaning of their own.
 */
export function isRefused(status: number): boolean {
  return status >= 400 && status < 500 && status !== 408 && status !== 416 && status !== 429;
}

/** Whether a response has a challenge that can be answered, with any status that refuses a request. */
export function isChallenge({ status, headers }: Pick<Reply, 'status' | 'headers'>): boolean {
  return isRefused(status) && isAnswerable(parseChallenges(headers['www-authenticate']));
}

/** The Bearer token that the challenges request. */
export function requestedToken(challenges: readonly Challenge[]): Pick<TokenRequest, 'realm' | 'service'> | undefined {
  const params = challenges.find(({ scheme }) => scheme === 'bearer')?.params;
  const realm = params?.get('realm');
  if (realm === undefined || !isHttp(realm)) return undefined;
  return { realm, service: params?.get('service') ?? '' };
}

/** The realm of a Bearer challenge, if it is not an HTTP URL. */
export function unusableRealm(challenges: readonly Challenge[]): string | undefined {
  const realm = challenges.find(({ scheme }) => scheme === 'bearer')?.params.get('realm');
  return realm === undefined || isHttp(realm) ? undefined : realm;
}

function isHttp(realm: string): boolean {
  return URL.canParse(realm) && /^https?:$/.test(new URL(realm).protocol);
}

export function offersBasic(challenges: readonly Challenge[]): boolean {
  return challenges.some(({ scheme }) => scheme === 'basic');
}

export function basicAuthorization({ username, password = '', encoded }: Credential): string {
  return `Basic ${encoded ?? Buffer.from(`${username}:${password}`, 'utf8').toString('base64')}`;
}

/** The only scope that is ever requested; a challenge could name another repository, or more than pull. */
export function pullScope(repository: string): string {
  return `repository:${repository}:pull`;
}
