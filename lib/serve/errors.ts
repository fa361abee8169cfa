/** Errors of the OCI distribution spec 1.1 ("Error Codes"), as JSON. */

export type ErrorCode =
  | 'BLOB_UNKNOWN'
  | 'DENIED'
  | 'DIGEST_INVALID'
  | 'MANIFEST_UNKNOWN'
  | 'NAME_INVALID'
  | 'NAME_UNKNOWN'
  | 'TAG_INVALID'
  | 'TOOMANYREQUESTS'
  | 'UNAUTHORIZED'
  | 'UNSUPPORTED'
  // Codes of the distribution registry, for cases that the spec does not name.
  | 'PAGINATION_NUMBER_INVALID'
  | 'UNAVAILABLE'
  | 'UNKNOWN';

/** An error response: a fault of the request, or a fault of the archive that the client may learn. */
export class RegistryError extends Error {
  readonly status: number;
  readonly code: ErrorCode;
  readonly headers: Readonly<Record<string, string>>;

  constructor(status: number, code: ErrorCode, message: string, headers: Readonly<Record<string, string>> = {}) {
    super(message);
    this.status = status;
    this.code = code;
    this.headers = headers;
  }

  response(): Response {
    const body = Buffer.from(`${JSON.stringify({ errors: [{ code: this.code, message: this.message }] })}\n`);
    return new Response(body, {
      status: this.status,
      headers: {
        'content-type': 'application/json',
        'content-length': String(body.length),
        'cache-control': 'no-store',
        ...this.headers,
      },
    });
  }
}
