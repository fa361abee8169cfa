/** Logins over HTTP Basic (RFC 7617), which every registry client sends after the challenge. */
import { RegistryError } from './errors.ts';

/** Authenticates the clients that may pull. */
export interface Logins {
  /**
   * The user of a request; undefined for missing or wrong credentials.
   *
   * @param authorization the value of the header
   */
  userOf(authorization: string | undefined): Promise<string | undefined>;
}

/** Clients send their credentials only after they receive this header. */
const CHALLENGE = { 'www-authenticate': 'Basic realm="mirror-sync"' };

interface Credentials {
  readonly user: string;
  readonly password: string;
}

/** The credentials of a header in UTF-8; undefined if it has none. Only the password may contain a colon. */
export function basicCredentials(authorization: string | undefined): Credentials | undefined {
  const [, encoded] = /^basic +([a-z0-9+/]+={0,2})$/i.exec(authorization ?? '') ?? [];
  if (encoded === undefined) return undefined;
  const text = Buffer.from(encoded, 'base64').toString();
  const colon = text.indexOf(':');
  return colon < 0 ? undefined : { user: text.slice(0, colon), password: text.slice(colon + 1) };
}

/** @throws RegistryError without valid credentials */
export async function requireUser(logins: Logins, { headers }: Request): Promise<string> {
  const authorization = headers.get('authorization') ?? undefined;
  const user = await logins.userOf(authorization);
  if (user !== undefined) return user;
  const detail = authorization === undefined ? 'a login is required' : 'the credentials are not valid';
  throw new RegistryError(401, 'UNAUTHORIZED', detail, CHALLENGE);
}
