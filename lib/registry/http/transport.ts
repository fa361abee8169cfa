import { Failure, type FailureCode } from '../../core/failure.ts';
import { systemWords } from '../../core/system-error.ts';
import { MAX_HEADER_BYTES } from './agents.ts';
import { RefusedAddress, offLimits } from './dial.ts';
import { CONTRADICTORY_LENGTH, InvalidHead } from './normalising.ts';

/** The facts about an exchange that its failure reports. */
export interface Attempt {
  readonly operation: string;
  readonly url: URL;
  readonly namedBy?: URL | undefined;
  /** The proxy as `host:port`. */
  readonly proxy?: string | undefined;
  /** Whether the headers have arrived. */
  readonly answered?: boolean;
}

/** Errors of undici; `lib/core/system-error.ts` describes all others. */
const UNDICI: ReadonlyMap<string, readonly [FailureCode, string]> = new Map([
  ['UND_ERR_CONNECT_TIMEOUT', ['timeout', 'the connection attempt timed out']],
  ['UND_ERR_SOCKET', ['network', 'the connection was closed']],
  ['UND_ERR_DESTROYED', ['aborted', 'the connection was closed on request']],
  ['UND_ERR_CLOSED', ['aborted', 'the connection was closed on request']],
] satisfies [string, [FailureCode, string]][]);

/** OpenSSL's error codes for certificates; a retry does not help. */
const CERTIFICATE = /CERT|SELF_SIGNED|UNABLE_TO_(GET_ISSUER|VERIFY)|ALTNAME/;

const TRUST = 'add its CA with NODE_EXTRA_CA_CERTS=FILE, use the CAs of the system with NODE_USE_SYSTEM_CA=1';

/** The errors of a TLS handshake with a plain HTTP server. */
const PLAIN_HTTP_ERRORS = new Set(['ERR_SSL_WRONG_VERSION_NUMBER', 'ERR_SSL_PACKET_LENGTH_TOO_LONG']);
const RESET = new Set(['ECONNRESET', 'ECONNABORTED', 'EPIPE', 'UND_ERR_SOCKET']);

/** Maps an error of undici or the operating system to a Failure. It names only the host, because a URL may be signed. */
export function transportFailure(thrown: unknown, at: Attempt): Failure {
  const { operation, url, namedBy, proxy } = at;
  if (thrown instanceof RefusedAddress) return offLimits(operation, url, namedBy);
  const code = codeOfError(thrown);
  const host = proxy === undefined ? url.host : `${url.host} through proxy ${proxy}`;
  const fail = (failure: FailureCode, detail: string, remedy?: 'never'): Failure =>
    new Failure({ operation, side: 'source', code: failure, detail, remedy, cause: thrown });
  if (CERTIFICATE.test(code)) {
    const detail = `the certificate of ${url.host} is not trusted (${code}); ${TRUST}, or accept any certificate with --insecure-registry ${url.host}`;
    return fail('network', detail, 'never');
  }
  if (PLAIN_HTTP_ERRORS.has(code))
    return fail(
      'network',
      `${host} does not speak TLS; to allow plain HTTP, use --insecure-registry ${url.host}`,
      'never',
    );
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  const refused = proxy === undefined ? undefined : proxyRefusal(message, host);
  if (refused !== undefined) return fail(...refused);
  if (code === 'UND_ERR_HEADERS_OVERFLOW')
    return fail('invalid', `${host} sent headers of more than ${MAX_HEADER_BYTES / 1024} KiB`);
  if (isParserError(thrown) && at.answered === true)
    return fail('truncated', `${host}: the body is truncated or has invalid framing`);
  if (isParserError(thrown))
    return fail('invalid', `${host} sent a response that is not valid HTTP (${reasonOf(thrown)})`);
  const known = UNDICI.get(code);
  if (known !== undefined) return fail(known[0], `${host}: ${known[1]}`);
  const words = systemWords(thrown);
  if (words !== undefined) return fail(code === 'ETIMEDOUT' ? 'timeout' : 'network', `${host}: ${words}`);
  if (code === 'EPROTO' || code.startsWith('ERR_SSL_'))
    return fail('network', `${host}: the TLS handshake failed (${code})`);
  return fail(code === 'UND_ERR_INVALID_ARG' ? 'invalid' : 'network', `${host}: ${message}`);
}

function isParsers(thrown: unknown): boolean {
  return thrown instanceof Error && thrown.name === 'HTTPParserError';
}

/** Whether undici's parser or the normalisation refused the response. */
function isParserError(thrown: unknown): boolean {
  return isParsers(thrown) || isLengthMismatch(thrown) || isContinue(thrown) || thrown instanceof InvalidHead;
}

/** Whether undici refused a `100 Continue`, which a client must ignore (RFC 9110, section 15.2). */
function isContinue(thrown: unknown): boolean {
  return thrown instanceof Error && codeOfError(thrown) === 'UND_ERR_SOCKET' && thrown.message === 'bad response';
}

/** Undici reports an invalid Content-Length as a length mismatch. */
export function isLengthMismatch(thrown: unknown): boolean {
  return codeOfError(thrown) === 'UND_ERR_RES_CONTENT_LENGTH_MISMATCH';
}

/** Whether the parser refused the framing of a chunked body, and not its early end. */
export function isInvalidFraming(thrown: unknown): boolean {
  return isParsers(thrown) && codeOfError(thrown) !== 'HPE_INVALID_EOF_STATE';
}

/** Whether the response could not be parsed, so that normalising its head may help. */
export function isUnreadable(failure: unknown): boolean {
  return failure instanceof Failure && failure.code === 'invalid' && isParserError(failure.cause);
}

function reasonOf(thrown: unknown): string {
  if (isLengthMismatch(thrown)) return CONTRADICTORY_LENGTH;
  if (isContinue(thrown)) return 'it follows 100 Continue';
  const message = thrown instanceof Error ? thrown.message : '';
  return /\((.*)\)$/.exec(message)?.[1] ?? message;
}

/** Undici reports the status of a proxy that refuses a tunnel only in its message. */
function statusOfProxy(message: string): number | undefined {
  const [, status] = /^Proxy (?:response|Authentication Required) \((\d{3})\)/.exec(message) ?? [];
  return status === undefined ? undefined : Number(status);
}

function isTunnelRefused(thrown: unknown): boolean {
  const status = thrown instanceof Error ? statusOfProxy(thrown.message) : undefined;
  return status !== undefined && status !== 407;
}

function proxyRefusal(message: string, host: string): [FailureCode, string] | undefined {
  const status = statusOfProxy(message);
  if (status === undefined) return undefined;
  const remedy = status === 407 ? '; add user:password@ before the host in the URL of the proxy' : '';
  const busy = status >= 500 || status === 429 || status === 408;
  return [busy ? 'network' : 'denied', `${host}: the proxy answered ${status}${remedy}`];
}

/**
 * Whether a failed TLS connection shows that the server does not speak TLS. All other failures (a name, a certificate, a
 * credential helper, a timeout) do not justify plain HTTP.
 */
export function showsNoTls(failure: unknown, through: string | undefined): boolean {
  if (!(failure instanceof Failure)) return false;
  const code = codeOfError(failure.cause);
  // A proxy that refuses connections says nothing about the server behind it. A proxy that forbids tunnels to a port may
  // forward requests in plain HTTP to it.
  const isRefused =
    through === undefined ? code === 'ECONNREFUSED' : failure.code === 'denied' && isTunnelRefused(failure.cause);
  return PLAIN_HTTP_ERRORS.has(code) || RESET.has(code) || isRefused;
}

/** Whether a failure shows that the server speaks TLS: an alert, or a certificate. */
export function showsTls(failure: Failure): boolean {
  const code = codeOfError(failure.cause);
  return CERTIFICATE.test(code) || (code.startsWith('ERR_SSL_') && !PLAIN_HTTP_ERRORS.has(code));
}

/** Happy Eyeballs throws one error for all attempted addresses; the first one is used. */
function codeOfError(thrown: unknown): string {
  if (thrown instanceof AggregateError && thrown.errors.length > 0) return codeOfError(thrown.errors[0]);
  const code: unknown = typeof thrown === 'object' && thrown !== null && 'code' in thrown ? thrown.code : undefined;
  return typeof code === 'string' ? code : '';
}
