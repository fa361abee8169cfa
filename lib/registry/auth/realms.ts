/** Which token services get a registry's credentials. */
import { Failure } from '../../core/failure.ts';
import { isLoopback } from '../http/addresses.ts';
import type { TokenWanted } from './challenge.ts';
import type { Credential } from './credentials.ts';

/**
 * Token services on another host than their registry, as the registries' operators document them. Pairs, since a token
 * service that one registry may name is not one that another may name.
 */
const SERVICES: readonly (readonly [registry: RegExp, service: RegExp])[] = [
  [/^(docker\.io|registry-1\.docker\.io|index\.docker\.io)$/, /^auth\.docker\.io$/],
  [/^registry\.gitlab\.com$/, /^gitlab\.com$/],
  [/^([\w-]+\.)*gcr\.io$/, /^([\w-]+\.)*gcr\.io$/],
  [/^[\w-]+-docker\.pkg\.dev$/, /^[\w-]+-docker\.pkg\.dev$/],
  [/^nvcr\.io$/, /^(authn\.nvidia\.com|nvcr\.io)$/],
  [/^registry\.(access\.)?redhat\.(io|com)$/, /^sso\.redhat\.com$/],
  [/^(cp\.)?icr\.io$|^[\w-]+\.icr\.io$/, /^([\w-]+\.)?icr\.io$|^iam\.cloud\.ibm\.com$/],
  [/^registry\.suse\.com$/, /^(scc|registry)\.suse\.com$/],
  [/^registry\.digitalocean\.com$/, /^api\.digitalocean\.com$/],
  [/^cgr\.dev$/, /^(issuer\.enforce\.dev|cgr\.dev)$/],
];

/** The names that one and the same host has for itself; its other loopback addresses may belong to somebody else. */
const THIS_HOST = /^(([\w-]+\.)*localhost|127\.0\.0\.1|\[::1\])$/;

export interface RealmRules {
  readonly isInsecure: (host: string) => boolean;
  /** The token service that the user has named for a registry: a host. */
  readonly tokenService: (registry: string) => string | undefined;
}

/** The credential that a token service gets, and why it gets none although there is one. */
export interface Usable {
  readonly credential: Credential | undefined;
  readonly withheld?: string;
}

/**
 * Decides at the one place where a realm meets a credential.
 *
 * @throws Failure `denied` where the credential would be sent in the clear
 */
export function usableAt(
  wanted: TokenWanted,
  credential: Credential | undefined,
  { isInsecure, tokenService }: RealmRules,
): Usable {
  const realm = new URL(wanted.realm);
  const { registry, namedBy } = wanted;
  if (realm.protocol !== 'https:' && realm.protocol !== 'http:')
    throw denied(realm, `${registry} names a token service that is not reached by HTTP`);
  if (credential === undefined) return { credential };
  const isOwn = realm.hostname === namedBy.hostname || realm.hostname === new URL(`https://${registry}`).hostname;
  const named = tokenService(registry);
  const isNamed = named !== undefined && (realm.host === named || realm.hostname === named);
  const isPair = SERVICES.some(([host, service]) => host.test(registry) && service.test(realm.hostname));
  const isBothHere = THIS_HOST.test(realm.hostname) && THIS_HOST.test(namedBy.hostname);
  if (!isOwn && !isNamed && !isPair && !isBothHere)
    return {
      credential: undefined,
      withheld:
        `the credentials from ${credential.from} are not sent to ${realm.host}, which is not known as a token service ` +
        `of ${registry}; the setting registries.${registry}.tokenService allows it`,
    };
  const isPlainAnyway = namedBy.protocol === 'http:' && namedBy.hostname === realm.hostname;
  if (realm.protocol === 'https:' || isPlainAnyway || isLoopback(realm.hostname) || isInsecure(realm.host))
    return { credential };
  throw denied(realm, `${registry} names a token service that is not reached over TLS; credentials are not sent there`);
}

function denied(realm: URL, detail: string): Failure {
  return new Failure({ operation: `get token from ${realm.origin}`, side: 'source', code: 'denied', detail });
}
