/** Maps the errors of S3 and of the connection to it to Failures. */
import { Failure, asFailure } from '../../core/failure.ts';
import { parseRetryAfter } from '../../core/http/time.ts';
import { systemWords } from '../../core/system-error.ts';
import { isThrottling } from '../../core/throttling.ts';
import type { FailureCode, FailureFields } from '../../core/failure.ts';
import { quote } from '../../oci/show.ts';
import { CHECKSUMS_VARIABLE } from './checksums.ts';

/** The operations that the store uses, and the IAM action that each needs. */
const IAM_ACTIONS = {
  AbortMultipartUpload: 's3:AbortMultipartUpload',
  CompleteMultipartUpload: 's3:PutObject',
  CreateMultipartUpload: 's3:PutObject',
  DeleteObject: 's3:DeleteObject',
  GetObject: 's3:GetObject',
  HeadObject: 's3:GetObject',
  ListMultipartUploads: 's3:ListBucketMultipartUploads',
  ListObjectsV2: 's3:ListBucket',
  ListParts: 's3:ListMultipartUploadParts',
  PutObject: 's3:PutObject',
  UploadPart: 's3:PutObject',
} as const;

export type Operation = keyof typeof IAM_ACTIONS;

export interface S3Request {
  readonly operation: Operation;
  readonly bucket: string;
  /** The full key of the object, or the prefix of a listing. */
  readonly key: string;
}

/** S3's error codes that determine the failure. https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html */
const CODES: ReadonlyMap<string, FailureCode> = new Map(
  Object.entries({
    BadDigest: 'digest-mismatch',
    ConditionalRequestConflict: 'unavailable',
    EntityTooLarge: 'too-large',
    ExpiredToken: 'token-expired',
    ExpiredTokenException: 'token-expired',
    IncompleteBody: 'truncated',
    InternalError: 'unavailable',
    InvalidDigest: 'digest-mismatch',
    NoSuchKey: 'blob-unknown',
    NoSuchUpload: 'no-such-upload',
    NotFound: 'blob-unknown',
    NotImplemented: 'unsupported',
    OperationAborted: 'unavailable',
    PreconditionFailed: 'precondition-failed',
    RequestTimeout: 'timeout',
    ServiceUnavailable: 'unavailable',
    TimeoutError: 'timeout',
    XAmzContentChecksumMismatch: 'digest-mismatch',
    XAmzContentSHA256Mismatch: 'digest-mismatch',
  } satisfies Record<string, FailureCode>),
);

/** The error codes for invalid credentials, for which no permission helps. */
const INVALID_CREDENTIALS = new Set(['InvalidAccessKeyId', 'InvalidToken', 'SignatureDoesNotMatch', 'InvalidSecurity']);

const INVALID_PARTS = new Set(['EntityTooSmall', 'InvalidPart', 'InvalidPartOrder']);

/** The setting for a server other than AWS. */
const ENDPOINT = 'AWS_ENDPOINT_URL_S3';

/** Node's error codes before a response, and their remedies; `lib/core/system-error.ts` describes them. */
const NETWORK: ReadonlyMap<string, string> = new Map([
  ['ECONNREFUSED', `; check that the server runs, and ${ENDPOINT}`],
  ['ENOTFOUND', `; check ${ENDPOINT} and AWS_REGION`],
  ['EAI_AGAIN', '; check the DNS of this machine'],
  ...['ECONNRESET', 'ECONNABORTED', 'EPIPE', 'EHOSTUNREACH', 'ENETUNREACH', 'ETIMEDOUT', 'EADDRNOTAVAIL'].map(
    (code) => [code, ''] as const,
  ),
]);

/** TLS errors, for which a retry does not help. */
const TLS: ReadonlyMap<string, string> = new Map([
  ...[
    'DEPTH_ZERO_SELF_SIGNED_CERT',
    'SELF_SIGNED_CERT_IN_CHAIN',
    'UNABLE_TO_GET_ISSUER_CERT',
    'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
    'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  ].map(
    (code) => [code, 'the certificate of the server is not trusted; add its CA with NODE_EXTRA_CA_CERTS=FILE'] as const,
  ),
  ['CERT_HAS_EXPIRED', 'the certificate of the server has expired'],
  ['CERT_NOT_YET_VALID', "the certificate of the server is not valid yet; check this machine's clock"],
  ['ERR_TLS_CERT_ALTNAME_INVALID', `the certificate of the server is for another name; check ${ENDPOINT}`],
  ['ERR_SSL_WRONG_VERSION_NUMBER', `the server does not speak TLS; use http:// in ${ENDPOINT}`],
  ['ERR_SSL_PACKET_LENGTH_TOO_LONG', `the server does not speak TLS; use http:// in ${ENDPOINT}`],
  ['EPROTO', `the server does not speak TLS correctly; check ${ENDPOINT}`],
]);

/** `undefined` if the error did not come from S3 or the connection. */
type Diagnosis = Pick<FailureFields, 'code' | 'detail' | 'remedy'> | undefined;

/** Maps anything that a request threw. */
export function toFailure(thrown: unknown, request: S3Request, signal?: AbortSignal): Failure {
  if (thrown instanceof Failure) return thrown;
  const common = {
    operation: `${request.operation} s3://${request.bucket}/${request.key}`,
    side: 'archive',
    cause: thrown,
  } as const;
  if (signal?.aborted === true) {
    const reason: unknown = signal.reason;
    return reason instanceof Failure
      ? reason
      : new Failure({ ...common, code: 'aborted', detail: 'stopped on request' });
  }
  if (thrown instanceof Error) {
    const { status, region, retryAfterMs } = responseOf(thrown);
    const said = status !== undefined && isServiceException(thrown);
    const diagnosis = said
      ? withResponse(thrown, status, region, request)
      : (withoutResponse(thrown) ?? (status === undefined ? undefined : unreadable(thrown, status)));
    if (diagnosis !== undefined)
      return new Failure({
        ...common,
        ...diagnosis,
        // The status of an unreadable response would be misleading: a 404 means that the object does not exist.
        status: said ? status : undefined,
        retryAfterMs,
      });
  }
  return asFailure(thrown, common.operation, 'archive');
}

/** Whether the error response was read completely; only then does the SDK throw a service exception. */
function isServiceException(error: Error): boolean {
  return '$fault' in error && error.$fault !== undefined;
}

/** A response whose body cannot be parsed; it is probably truncated, so the request is retried. */
function unreadable(error: Error, status: number): Diagnosis {
  // The other lines of the SDK's message are hints for its users.
  const [why = ''] = error.message.split('\n');
  return { code: 'truncated', detail: `the response (${status}) cannot be parsed: ${quote(why)}` };
}

/** A failure before or during the response. */
function withoutResponse(error: Error): Diagnosis {
  const detail = quote(error.message);
  const { code = '' } = error as NodeJS.ErrnoException;
  const words = (text: string): string => (detail === '' ? text : `${text} (${detail})`);
  if (error.name === 'TimeoutError') return { code: 'timeout', detail: words('the server does not respond') };
  const check = NETWORK.get(code);
  if (check !== undefined) return { code: 'network', detail: `${words(systemWords(error) ?? code)}${check}` };
  const tls = TLS.get(code);
  if (tls !== undefined) return { code: 'denied', detail: words(tls) };
  // The SDK names the URL in some of these errors.
  if (code === 'ERR_INVALID_URL' || error.name === 'EndpointError')
    return {
      code: 'invalid',
      detail: `the URL of the server is not valid; set ${ENDPOINT} to a URL such as https://s3.example.com`,
    };
  if (error.name === 'CredentialsProviderError')
    return {
      code: 'denied',
      detail: `${detail}; set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or use a role`,
    };
  if (detail.startsWith('Region is missing'))
    return {
      code: 'invalid',
      detail: "the bucket's region is unknown; set AWS_REGION, or set the region in the profile",
    };
  return undefined;
}

function withResponse(error: Error, status: number, region: string | undefined, request: S3Request): Diagnosis {
  const { operation, bucket } = request;
  const { name } = error;
  const said = `${quote(error.message || name)} (${quote(name)}, ${status})`;
  if (isThrottling(name)) return { code: 'rate-limited', detail: said };
  if (isElsewhere(name, status, operation)) {
    if (region !== undefined)
      return {
        code: 'invalid',
        detail: `the bucket ${bucket} is in region ${quote(region)}; set AWS_REGION=${quote(region)}`,
      };
    if (status !== 400)
      return { code: 'invalid', detail: `the bucket ${bucket} is in another region: ${said}; set AWS_REGION to it` };
  }
  if (name === 'NoSuchBucket')
    return {
      code: 'name-unknown',
      detail: `the bucket ${bucket} does not exist; create it, or correct the URL of the archive`,
    };
  if (name === 'RequestTimeTooSkewed') return { code: 'denied', detail: `${said}; set this machine's clock` };
  // The storage class of the object, such as GLACIER, cannot be read at once.
  if (name === 'InvalidObjectState')
    return { code: 'denied', detail: `${said}; restore the object with aws s3api restore-object` };
  if (INVALID_CREDENTIALS.has(name))
    return {
      code: 'denied',
      detail: `${said}; correct the credentials (AWS_PROFILE, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY)`,
    };
  const refused = refusedFeature(name, status, said, request);
  if (refused !== undefined) return refused;
  // The upload cannot be completed (a part was replaced), but the blob can be uploaded again.
  if (INVALID_PARTS.has(name)) return { code: 'invalid', detail: said, remedy: 'restart' };
  // The bytes are still in memory and match the checksum, so they were corrupted in transit.
  if (CODES.get(name) === 'digest-mismatch' && (operation === 'UploadPart' || operation === 'PutObject'))
    return { code: 'digest-mismatch', detail: said, remedy: 'retry' };
  // Another request for the object is under way. S3 recommends to repeat the request, but to start a multipart upload again.
  // https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
  if (name === 'ConditionalRequestConflict' && operation === 'CompleteMultipartUpload')
    return { code: 'precondition-failed', detail: said };
  const code = CODES.get(name) ?? codeOfStatus(status, operation);
  return { code, detail: code === 'denied' ? `${said}; ${permissionFor(request, error.message)}` : said };
}

/** Requests that may have If-None-Match or If-Match as the condition of a write. */
const CONDITIONAL: ReadonlySet<Operation> = new Set(['PutObject', 'CompleteMultipartUpload', 'DeleteObject']);

/** Requests for an existing upload, which has a checksum algorithm or not. */
const OF_UPLOADS: ReadonlySet<Operation> = new Set(['UploadPart', 'CompleteMultipartUpload']);

export const NEEDS_CONDITIONS =
  'the store does not support conditional writes (If-None-Match and If-Match), which an archive requires; use a store that does (docs/s3.md)';

/** The failure of a store that does not support a required feature of S3. */
function refusedFeature(name: string, status: number, said: string, { operation }: S3Request): Diagnosis {
  if (CODES.get(name) === 'digest-mismatch' || CODES.get(name) === 'precondition-failed') return undefined;
  if (/x-amz-(?:sdk-)?checksum/i.test(said) && (status === 400 || status === 501))
    return {
      code: 'unsupported',
      detail: `the store refuses checksum headers: ${said}; disable them with ${CHECKSUMS_VARIABLE}=off`,
    };
  // AWS refuses parts of an upload that was created with the other setting; the blob can be uploaded again.
  if (/checksum/i.test(said) && name === 'InvalidRequest' && OF_UPLOADS.has(operation))
    return { code: 'invalid', detail: said, remedy: 'restart' };
  const isCondition = status === 501 || status === 304 || (status === 400 && /\bif-(?:none-)?match\b/i.test(said));
  if (isCondition && CONDITIONAL.has(operation)) return { code: 'unsupported', detail: `${NEEDS_CONDITIONS}: ${said}` };
  return undefined;
}

function codeOfStatus(status: number, operation: Operation): FailureCode {
  if (status === 401 || status === 403) return 'denied';
  // A response to HEAD has no body and no error code; in other responses a 404 with an unknown code is not about the object.
  if (status === 404) return operation === 'HeadObject' ? 'blob-unknown' : 'invalid';
  if (status === 408) return 'timeout';
  if (status === 412) return 'precondition-failed';
  if (status === 429) return 'rate-limited';
  if (status === 501) return 'unsupported';
  return status >= 500 ? 'unavailable' : 'invalid';
}

function permissionFor({ operation, bucket, key }: S3Request, message: string): string {
  const [ofKey] = /\bkms:[A-Za-z]+/.exec(message) ?? [];
  if (ofKey !== undefined) return `allow ${ofKey} on the key of the bucket`;
  const action = IAM_ACTIONS[operation];
  const ofBucket = `arn:aws:s3:::${bucket}`;
  const resource = action.startsWith('s3:ListBucket') ? ofBucket : `${ofBucket}/${key}`;
  // Without s3:ListBucket, a missing object is a 403: https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
  const also = action === 's3:GetObject' ? `, and s3:ListBucket on ${ofBucket} to detect missing objects` : '';
  return `allow ${action} on ${resource}${also}`;
}

/** Whether the bucket is in another region: a 301 or 307, or a 400 with such a code, which HEAD does not have. */
function isElsewhere(name: string, status: number, operation: Operation): boolean {
  if (status === 301 || status === 307) return true;
  if (status !== 400) return false;
  return (
    operation === 'HeadObject' ||
    name === 'AuthorizationHeaderMalformed' ||
    name === 'IllegalLocationConstraintException'
  );
}

interface ErrorResponse {
  readonly status: number | undefined;
  readonly region: string | undefined;
  readonly retryAfterMs: number | undefined;
}

/** The properties that the SDK adds to its errors. */
function responseOf(error: Error): ErrorResponse {
  const { $metadata, $response, Region } = error as Error & {
    readonly $metadata?: { readonly httpStatusCode?: number };
    readonly $response?: { readonly headers?: Readonly<Record<string, string>>; readonly statusCode?: number };
    readonly Region?: string;
  };
  return {
    status: $metadata?.httpStatusCode ?? $response?.statusCode,
    region: $response?.headers?.['x-amz-bucket-region'] ?? Region,
    retryAfterMs: parseRetryAfter($response?.headers?.['retry-after'], Date.now()),
  };
}
