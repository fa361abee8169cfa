import { Failure, type FailureCode } from '../../core/failure.ts';
import { systemWords } from '../../core/system-error.ts';
import { MAX_HEADER_BYTES } from './agents.ts';
import { RefusedAddress, offLimits } from './dial.ts';
import { ContradictoryLength } from './normalising.ts';

/** What an exchange was, for naming its failure. */
export interface Attempt {
  readonly operation: string;
  readonly url: URL;
  readonly namedBy?: URL | undefined;
  /** The proxy, as `host:port`, through which it went. */
  readonly proxy?: string | undefined;
  /** Whether the headers had come. */
  readonly answered?: boolean;
}

/** Errors of undici. The words for all others are those of lib/core/system-error.ts. */
const UNDICI: ReadonlyMap<string, readonly [FailureCode, string]> = new Map([
  ['UND_ERR_CONNECT_TIMEOUT', ['timeout', 'no connection could be made in time']],
  ['UND_ERR_SOCKET', ['network', 'the connection was closed']],
  ['UND_ERR_DESTROYED', ['aborted', 'the connection was closed on request']],
  ['UND_ERR_CLOSED', ['aborted', 'the connection was closed on request']],
] satisfies [string, [FailureCode, string]][]);

/** OpenSSL's verdicts on a certificate, which no second try changes. */
const CERTIFICATE = /CERT|SELF_SIGNED|UNABLE_TO_(GET_ISSUER|VERIFY)|ALTNAME/;

const TRUST = 'NODE_EXTRA_CA_CERTS=FILE adds its CA, NODE_USE_SYSTEM_CA=1 the CAs of the system';

/** What servers that speak plain HTTP make of a TLS handshake. */
const NOT_TLS = new Set(['ERR_SSL_WRONG_VERSION_NUMBER', 'ERR_SSL_PACKET_LENGTH_TOO_LONG']);
const RESET = new Set(['ECONNRESET', 'ECONNABORTED', 'EPIPE', 'UND_ERR_SOCKET']);

/** What undici or the operating system threw, as a Failure. Names hosts only: the query of a URL may be its signature. */
export function transportFailure(thrown: unknown, at: Attempt): Failure {
  const { operation, url, namedBy, proxy } = at;
  if (thrown instanceof RefusedAddress) return offLimits(operation, url, namedBy);
  const code = codeOfError(thrown);
  const host = proxy === undefined ? url.host : `${url.host} through proxy ${proxy}`;
  const fail = (failure: FailureCode, detail: string, final = false): Failure =>
    new Failure({
      ...{ operation, side: 'source', code: failure, detail, cause: thrown },
      ...(final ? { remedy: 'never' } : {}),
    });
  if (CERTIFICATE.test(code)) {
    const detail = `the certificate of ${url.host} is not trusted (${code}); ${TRUST}, --insecure-registry ${url.host} accepts any`;
    return fail('network', detail, true);
  }
  if (NOT_TLS.has(code))
    return fail('network', `${host} does not speak TLS; --insecure-registry ${url.host} allows plain HTTP`, true);
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  const refused = proxy === undefined ? undefined : proxyRefusal(message, host);
  if (refused !== undefined) return fail(...refused);
  if (code === 'UND_ERR_HEADERS_OVERFLOW')
    return fail('invalid', `${host} sent headers of more than ${MAX_HEADER_BYTES / 1024} KiB`, true);
  if (isParserError(thrown) && at.answered === true)
    return fail('truncated', `${host}: the body ended too early, or in the wrong form`);
  if (isParserError(thrown))
    return fail('invalid', `${host} sent a response that is not valid HTTP (${reasonOf(thrown)})`, true);
  const known = UNDICI.get(code);
  if (known !== undefined) return fail(known[0], `${host}: ${known[1]}`);
  const words = systemWords(thrown);
  if (words !== undefined) return fail(code === 'ETIMEDOUT' ? 'timeout' : 'network', `${host}: ${words}`);
  if (code === 'EPROTO' || code.startsWith('ERR_SSL_'))
    return fail('network', `${host}: the TLS handshake failed (${code})`);
  return fail(code === 'UND_ERR_INVALID_ARG' ? 'invalid' : 'network', `${host}: ${message}`);
}

/** What undici's parser throws, and what comes in its place for a head that cannot be put right. */
function isParserError(thrown: unknown): boolean {
  const isParsers = thrown instanceof Error && thrown.name === 'HTTPParserError';
  return isParsers || isLengthMismatch(thrown) || thrown instanceof ContradictoryLength;
}

/** Undici reports every head with a Content-Length that its parser refuses as a mismatch of lengths. */
export function isLengthMismatch(thrown: unknown): boolean {
  return codeOfError(thrown) === 'UND_ERR_RES_CONTENT_LENGTH_MISMATCH';
}

/** Whether a response failed before it was understood, so that putting its head right may help. */
export function isUnreadable(failure: unknown): boolean {
  return failure instanceof Failure && failure.code === 'invalid' && isParserError(failure.cause);
}

function reasonOf(thrown: unknown): string {
  if (isLengthMismatch(thrown)) return new ContradictoryLength().message;
  const message = thrown instanceof Error ? thrown.message : '';
  return /\((.*)\)$/.exec(message)?.[1] ?? message;
}

/** Undici says only in words what a proxy answered instead of opening a tunnel. */
function proxyRefusal(message: string, host: string): [FailureCode, string, boolean] | undefined {
  const status = Number(/^Proxy (?:response|Authentication Required) \((\d{3})\)/.exec(message)?.[1]);
  if (Number.isNaN(status)) return undefined;
  const remedy = status === 407 ? '; the proxy needs a user and a password in its URL (http://user:password@host)' : '';
  const busy = status >= 500 || status === 429 || status === 408;
  return [busy ? 'network' : 'denied', `${host}: the proxy answered ${status}${remedy}`, !busy];
}

/**
 * Whether a failure to connect over TLS shows that the other side does not speak it. Whatever else fails (a name, a
 * certificate, a credential helper, a timeout) is not a reason to send anything in the clear.
 */
export function showsNoTls(failure: unknown, through: string | undefined): boolean {
  if (!(failure instanceof Failure)) return false;
  const code = codeOfError(failure.cause);
  // A proxy that refuses connections says nothing of what is behind it.
  return NOT_TLS.has(code) || RESET.has(code) || (code === 'ECONNREFUSED' && through === undefined);
}

/** Whether a failure is the other side's part in a TLS handshake: an alert, a certificate. */
export function showsTls(failure: Failure): boolean {
  const code = codeOfError(failure.cause);
  return CERTIFICATE.test(code) || (code.startsWith('ERR_SSL_') && !NOT_TLS.has(code));
}

/** Happy eyeballs gives one error for all addresses that were tried; the first one stands for them. */
function codeOfError(thrown: unknown): string {
  if (thrown instanceof AggregateError && thrown.errors.length > 0) return codeOfError(thrown.errors[0]);
  const code: unknown = typeof thrown === 'object' && thrown !== null && 'code' in thrown ? thrown.code : undefined;
  return typeof code === 'string' ? code : '';
}
