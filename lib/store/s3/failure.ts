/** What S3 says, and what the way to it does, as this software's own failures. */
import { Failure, asFailure } from '../../core/failure.ts';
import { systemWords } from '../../core/system-error.ts';
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

/** What was being done, and to what. */
export interface Deed {
  readonly operation: Operation;
  readonly bucket: string;
  /** Of the object, or the prefix of a listing; whole, as S3 knows it. */
  readonly key: string;
}

/** S3's error codes, where the code alone decides. https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html */
const CODES: ReadonlyMap<string, FailureCode> = new Map(
  Object.entries({
    BadDigest: 'digest-mismatch',
    ConditionalRequestConflict: 'precondition-failed',
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
    RequestLimitExceeded: 'rate-limited',
    RequestTimeout: 'timeout',
    ServiceUnavailable: 'unavailable',
    SlowDown: 'rate-limited',
    Throttling: 'rate-limited',
    ThrottlingException: 'rate-limited',
    TimeoutError: 'timeout',
    TooManyRequests: 'rate-limited',
    XAmzContentChecksumMismatch: 'digest-mismatch',
    XAmzContentSHA256Mismatch: 'digest-mismatch',
  } satisfies Record<string, FailureCode>),
);

/** Of whoever S3 does not know, which no permission would mend. */
const UNKNOWN_CALLER = new Set(['InvalidAccessKeyId', 'InvalidToken', 'SignatureDoesNotMatch', 'InvalidSecurity']);

/** Where the server is named, if it is not AWS. */
const ENDPOINT = 'AWS_ENDPOINT_URL_S3';

/** Node's codes of failures before an answer, and what to check. The words for them are those of lib/core/system-error.ts. */
const NETWORK: ReadonlyMap<string, string> = new Map([
  ['ECONNREFUSED', `; check that the server runs, and ${ENDPOINT}`],
  ['ENOTFOUND', `; check ${ENDPOINT} and AWS_REGION`],
  ['EAI_AGAIN', '; check the DNS of this machine'],
  ...['ECONNRESET', 'ECONNABORTED', 'EPIPE', 'EHOSTUNREACH', 'ENETUNREACH', 'ETIMEDOUT', 'EADDRNOTAVAIL'].map(
    (code) => [code, ''] as const,
  ),
]);

/** TLS errors that the same request meets again. */
const TLS: ReadonlyMap<string, string> = new Map([
  ...[
    'DEPTH_ZERO_SELF_SIGNED_CERT',
    'SELF_SIGNED_CERT_IN_CHAIN',
    'UNABLE_TO_GET_ISSUER_CERT',
    'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
    'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  ].map(
    (code) => [code, 'the certificate of the server is not trusted; name its CA in NODE_EXTRA_CA_CERTS=FILE'] as const,
  ),
  ['CERT_HAS_EXPIRED', 'the certificate of the server has expired'],
  ['CERT_NOT_YET_VALID', "the certificate of the server is not valid yet; check this machine's clock"],
  ['ERR_TLS_CERT_ALTNAME_INVALID', `the certificate of the server is for another name; check ${ENDPOINT}`],
  ['ERR_SSL_WRONG_VERSION_NUMBER', `the server does not speak TLS; write http:// in ${ENDPOINT}`],
  ['ERR_SSL_PACKET_LENGTH_TOO_LONG', `the server does not speak TLS; write http:// in ${ENDPOINT}`],
  ['EPROTO', `the server does not speak TLS as it should; check ${ENDPOINT}`],
]);

/** What is wrong, in this software's terms; `undefined` where it is none of S3's business. */
type Diagnosis = Pick<FailureFields, 'code' | 'detail' | 'remedy'> | undefined;

/** Whatever was thrown by a request, as the failure of `deed`. */
export function toFailure(thrown: unknown, deed: Deed, signal?: AbortSignal): Failure {
  if (thrown instanceof Failure) return thrown;
  const common = {
    operation: `${deed.operation} s3://${deed.bucket}/${deed.key}`,
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
    const { status, region, retryAfterMs } = answerOf(thrown);
    const said = status !== undefined && isSaid(thrown);
    const diagnosis = said
      ? answered(thrown, status, region, deed)
      : (unanswered(thrown) ?? (status === undefined ? undefined : unread(thrown, status)));
    if (diagnosis !== undefined)
      return new Failure({
        ...common,
        ...diagnosis,
        // The status of an answer that was not read to its end says nothing: the same one may mean "not there".
        ...(said ? { status } : {}),
        ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
      });
  }
  return asFailure(thrown, common.operation, 'archive');
}

/** Whether S3's own words were read: the SDK makes a service exception of those, and of nothing else. */
function isSaid(error: Error): boolean {
  return '$fault' in error && error.$fault !== undefined;
}

/** An answer of which the beginning came, and whose body cannot be read: most likely it was cut, so it is asked for again. */
function unread(error: Error, status: number): Diagnosis {
  // Behind the first line the SDK says where its users find the raw answer.
  const [why = ''] = error.message.split('\n');
  return { code: 'truncated', detail: `the answer (${status}) cannot be read: ${quote(why)}` };
}

/** What happened before there was an answer, or while it came. */
function unanswered(error: Error): Diagnosis {
  const detail = quote(error.message);
  const { code = '' } = error as NodeJS.ErrnoException;
  const words = (text: string): string => (detail === '' ? text : `${text} (${detail})`);
  if (error.name === 'TimeoutError') return { code: 'timeout', detail: words('the server does not answer') };
  const check = NETWORK.get(code);
  if (check !== undefined) return { code: 'network', detail: `${words(systemWords(error) ?? code)}${check}` };
  const tls = TLS.get(code);
  if (tls !== undefined) return { code: 'denied', detail: words(tls) };
  if (error.name === 'CredentialsProviderError')
    return {
      code: 'denied',
      detail: `${detail}; give credentials by AWS_PROFILE, by AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or by a role`,
    };
  if (detail.startsWith('Region is missing'))
    return { code: 'invalid', detail: "the bucket's region is not known; set AWS_REGION, or name it in the profile" };
  return undefined;
}

function answered(error: Error, status: number, region: string | undefined, deed: Deed): Diagnosis {
  const { operation, bucket } = deed;
  const { name } = error;
  const said = `${quote(error.message || name)} (${quote(name)}, ${status})`;
  if (isElsewhere(name, status, operation)) {
    if (region !== undefined)
      return {
        code: 'invalid',
        detail: `the bucket ${bucket} is in region ${quote(region)}: set AWS_REGION=${quote(region)}`,
      };
    if (status !== 400)
      return { code: 'invalid', detail: `the bucket ${bucket} is in another region: ${said}; set AWS_REGION to that` };
  }
  if (name === 'NoSuchBucket')
    return {
      code: 'name-unknown',
      detail: `the bucket ${bucket} does not exist; create it, or correct the archive's address`,
    };
  if (name === 'RequestTimeTooSkewed') return { code: 'denied', detail: `${said}; set this machine's clock` };
  if (UNKNOWN_CALLER.has(name))
    return {
      code: 'denied',
      detail: `${said}; correct the credentials (AWS_PROFILE, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY)`,
    };
  const refused = refusedFeature(name, status, said, deed);
  if (refused !== undefined) return refused;
  // The upload is of no use any more (a part was replaced), but the blob can be uploaded in another one.
  if (name === 'InvalidPart' || name === 'InvalidPartOrder')
    return { code: 'invalid', detail: said, remedy: 'restart' };
  // The checksum was made here of bytes that are still held, so that they were bent on the way.
  if (CODES.get(name) === 'digest-mismatch' && (operation === 'UploadPart' || operation === 'PutObject'))
    return { code: 'digest-mismatch', detail: said, remedy: 'retry' };
  const code = CODES.get(name) ?? codeOfStatus(status, operation);
  return { code, detail: code === 'denied' ? `${said}; ${permissionFor(deed)}` : said };
}

/** Requests that may carry If-None-Match or If-Match as a condition of a change. */
const CONDITIONAL: ReadonlySet<Operation> = new Set(['PutObject', 'CompleteMultipartUpload', 'DeleteObject']);

/** Requests of an upload that was begun with a checksum algorithm, or without one. */
const OF_UPLOADS: ReadonlySet<Operation> = new Set(['UploadPart', 'CompleteMultipartUpload']);

export const NEEDS_CONDITIONS =
  'the store does not support conditional writes (If-None-Match and If-Match), which an archive needs; use a store that does (docs/s3.md)';

/** What a store says that does not have all that this software uses of S3. */
function refusedFeature(name: string, status: number, said: string, { operation }: Deed): Diagnosis {
  if (CODES.get(name) === 'digest-mismatch' || CODES.get(name) === 'precondition-failed') return undefined;
  if (/x-amz-(?:sdk-)?checksum/i.test(said) && (status === 400 || status === 501))
    return {
      code: 'unsupported',
      detail: `the store refuses checksum headers: ${said}; switch them off with ${CHECKSUMS_VARIABLE}=off`,
    };
  // AWS, of an upload that was begun with the other setting: the blob can be uploaded in another one.
  if (/checksum/i.test(said) && name === 'InvalidRequest' && OF_UPLOADS.has(operation))
    return { code: 'invalid', detail: said, remedy: 'restart' };
  if (status === 501 && CONDITIONAL.has(operation))
    return { code: 'unsupported', detail: `${NEEDS_CONDITIONS}: ${said}` };
  return undefined;
}

function codeOfStatus(status: number, operation: Operation): FailureCode {
  if (status === 401 || status === 403) return 'denied';
  // An answer to HEAD has no body, and so no code; elsewhere a 404 of another code is not about the object.
  if (status === 404) return operation === 'HeadObject' ? 'blob-unknown' : 'invalid';
  if (status === 408) return 'timeout';
  if (status === 412) return 'precondition-failed';
  if (status === 429) return 'rate-limited';
  if (status === 501) return 'unsupported';
  return status >= 500 ? 'unavailable' : 'invalid';
}

function permissionFor({ operation, bucket, key }: Deed): string {
  const action = IAM_ACTIONS[operation];
  const ofBucket = `arn:aws:s3:::${bucket}`;
  const resource = action.startsWith('s3:ListBucket') ? ofBucket : `${ofBucket}/${key}`;
  // https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html: without it, what is not there is answered 403.
  const also =
    action === 's3:GetObject' ? `, and s3:ListBucket on ${ofBucket} to learn that an object is not there` : '';
  return `allow ${action} on ${resource}${also}`;
}

/** Whether the bucket was asked for in the wrong region: 301, or a 400 that says so (to HEAD it cannot, without a body). */
function isElsewhere(name: string, status: number, operation: Operation): boolean {
  if (status === 301 || status === 307) return true;
  if (status !== 400) return false;
  return (
    operation === 'HeadObject' ||
    name === 'AuthorizationHeaderMalformed' ||
    name === 'IllegalLocationConstraintException'
  );
}

interface Answer {
  readonly status: number | undefined;
  readonly region: string | undefined;
  readonly retryAfterMs: number | undefined;
}

/** What the SDK hangs on its errors. */
function answerOf(error: Error): Answer {
  const { $metadata, $response, Region } = error as Error & {
    readonly $metadata?: { readonly httpStatusCode?: number };
    readonly $response?: { readonly headers?: Readonly<Record<string, string>>; readonly statusCode?: number };
    readonly Region?: string;
  };
  return {
    status: $metadata?.httpStatusCode ?? $response?.statusCode,
    region: $response?.headers?.['x-amz-bucket-region'] ?? Region,
    retryAfterMs: retryAfter($response?.headers?.['retry-after']),
  };
}

/** RFC 9110, section 10.2.3: seconds, or a date. */
function retryAfter(value: string | undefined): number | undefined {
  if (value === undefined) return undefined;
  if (/^\d+$/.test(value)) return Number(value) * 1000;
  const date = Date.parse(value);
  return Number.isNaN(date) ? undefined : Math.max(0, date - Date.now());
}
