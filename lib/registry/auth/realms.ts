/** Decides which token services get a registry's credentials. */
import { Failure } from '../../core/failure.ts';
import { isLoopback } from '../http/addresses.ts';
import type { TokenRequest } from './challenge.ts';
import type { Credential } from './credentials.ts';

/**
 * Token services on another host than their registry, from the registries' documentation. Each one gets the credentials
 * of its registry only.
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

/** The loopback names of this host; other loopback addresses may belong to other services. */
const THIS_HOST = /^(([\w-]+\.)*localhost|127\.0\.0\.1|\[::1\])$/;

export interface RealmRules {
  readonly isInsecure: (host: string) => boolean;
  /** The host of the token service that the user has configured for a registry. */
  readonly tokenService: (registry: string) => string | undefined;
}

/** The credential that a token service gets, or the reason why the existing credential is withheld. */
export interface UsableCredential {
  readonly credential: Credential | undefined;
  readonly withheld?: string;
}

/**
 * The credential that may be sent to a realm.
 *
 * @throws Failure `denied` if the credential would be sent over plain HTTP
 */
export function usableAt(
  wanted: TokenRequest,
  credential: Credential | undefined,
  { isInsecure, tokenService }: RealmRules,
): UsableCredential {
  const realm = new URL(wanted.realm);
  const { registry, namedBy } = wanted;
  if (realm.protocol !== 'https:' && realm.protocol !== 'http:')
    throw denied(realm, `${registry} names a token service without an HTTP URL`);
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
        `the credentials from ${credential.from} are not sent to ${realm.host}, which is not a known token service ` +
        `of ${registry}; to allow it, set registries.${registry}.tokenService`,
    };
  const isPlainAnyway = namedBy.protocol === 'http:' && namedBy.hostname === realm.hostname;
  if (realm.protocol === 'https:' || isPlainAnyway || isLoopback(realm.hostname) || isInsecure(realm.host))
    return { credential };
  throw denied(realm, `${registry} names a token service without TLS; credentials are not sent to it`);
}

function denied(realm: URL, detail: string): Failure {
  return new Failure({ operation: `get token from ${realm.origin}`, side: 'source', code: 'denied', detail });
}
