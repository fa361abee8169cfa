/**
 * Requests of a Lambda function URL and of an Application Load Balancer, as a registry reads them. Both pass the path and the query
 * as the client has escaped them. Every body leaves as base64, so no byte of it is decoded as text.
 */
import type { ALBEvent, APIGatewayProxyEventV2 } from 'aws-lambda';
import { invalid } from '../lib/core/failure.ts';
import { isRecord } from '../lib/core/json.ts';
import { RegistryError } from '../lib/serve/errors.ts';

export type HttpEvent = APIGatewayProxyEventV2 | ALBEvent;

/**
 * The limit of a load balancer for the JSON of a response is 1 MB, and that of a function URL 6 MB. Base64 adds a third, and a
 * redirect to S3 has about 2 KB of headers.
 */
export const MAX_BODY_BYTES = 700_000;

export interface HttpRequest {
  /** Any method other than GET and HEAD is POST, because a `Request` refuses some methods. */
  readonly request: Request;
  /** The raw target, path and query. */
  readonly target: string;
  /** The header as sent by the client. */
  readonly method: string;
  /** The address of the client. */
  readonly client: string;
}

export interface HttpResult {
  readonly statusCode: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly multiValueHeaders?: Readonly<Record<string, readonly string[]>>;
  readonly body: string;
  readonly isBase64Encoded: boolean;
}

/**
 * @throws Failure `invalid` for an event of another kind, such as a test event of the console
 */
export function requestOf(event: HttpEvent, signal: AbortSignal): HttpRequest {
  if (!isRequest(event))
    throw invalid(
      'read event',
      'expected a request of the function URL or of a load balancer; send an HTTP request instead of invoking the function',
    );
  const headers = headersOf(event);
  const { method, target, client } = isFromBalancer(event) ? balanced(event, headers) : direct(event);
  const known = method === 'GET' || method === 'HEAD' ? method : 'POST';
  return {
    request: new Request('https://registry.invalid/', { method: known, headers, signal }),
    target,
    method,
    client,
  };
}

export async function resultOf(event: HttpEvent, response: Response): Promise<HttpResult> {
  const bytes = Buffer.from(await response.arrayBuffer());
  if (bytes.length > MAX_BODY_BYTES) return await resultOf(event, tooLarge(bytes.length));
  const { status, headers } = response;
  const pairs = Object.fromEntries(headers);
  const isMultiple = isFromBalancer(event) && event.multiValueHeaders !== undefined;
  return {
    statusCode: status,
    ...(isMultiple
      ? { multiValueHeaders: Object.fromEntries(Object.entries(pairs).map(([name, value]) => [name, [value]])) }
      : { headers: pairs }),
    body: bytes.toString('base64'),
    isBase64Encoded: bytes.length > 0,
  };
}

type Values = Readonly<Record<string, string | string[] | undefined>>;

type Line = Pick<HttpRequest, 'method' | 'target' | 'client'>;

function direct({ rawPath, rawQueryString, requestContext: { http } }: APIGatewayProxyEventV2): Line {
  return { method: http.method, target: targetOf(rawPath, rawQueryString), client: http.sourceIp };
}

function balanced(event: ALBEvent, headers: Headers): Line {
  const { httpMethod, path, multiValueQueryStringParameters: many, queryStringParameters: single } = event;
  const values: Values = many ?? single ?? {};
  const pairs = Object.entries(values).flatMap(([name, each]) => listOf(each).map((value) => `${name}=${value}`));
  // The load balancer appends the address of its client to what that client has sent.
  const client = headers.get('x-forwarded-for')?.split(',').at(-1)?.trim() ?? '';
  return { method: httpMethod, target: targetOf(path, pairs.join('&')), client };
}

function targetOf(path: string, query: string): string {
  return query === '' ? path : `${path}?${query}`;
}

function headersOf(event: HttpEvent): Headers {
  const headers = new Headers();
  const many = isFromBalancer(event) ? event.multiValueHeaders : undefined;
  const values: Values = many ?? event.headers ?? {};
  for (const [name, each] of Object.entries(values)) for (const value of listOf(each)) append(headers, name, value);
  return headers;
}

function listOf(values: string | string[] | undefined): string[] {
  return typeof values === 'string' ? [values] : (values ?? []);
}

/** Drops headers with values that HTTP does not allow; a registry reads none of these. */
function append(headers: Headers, name: string, value: string): void {
  try {
    headers.append(name, value);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
  }
}

function isRequest(event: unknown): event is HttpEvent {
  if (isDirect(event)) return true;
  if (!isRecord(event) || !isRecord(event['requestContext'])) return false;
  const { httpMethod, path, requestContext } = event;
  return 'elb' in requestContext && typeof httpMethod === 'string' && typeof path === 'string';
}

/** Whether an event is a request of a function URL. */
export function isDirect(event: unknown): event is APIGatewayProxyEventV2 {
  if (!isRecord(event) || !isRecord(event['requestContext'])) return false;
  const { rawPath, rawQueryString, requestContext } = event;
  return (
    typeof rawPath === 'string' &&
    typeof rawQueryString === 'string' &&
    !('elb' in requestContext) &&
    isRecord(requestContext['http'])
  );
}

function isFromBalancer(event: HttpEvent): event is ALBEvent {
  return 'elb' in event.requestContext;
}

function tooLarge(size: number): Response {
  const detail = `the response has ${size} bytes, and this host sends at most ${MAX_BODY_BYTES}`;
  return new RegistryError(500, 'UNSUPPORTED', detail).response();
}
