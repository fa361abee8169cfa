import { describe, expect, test } from 'vitest';
import { type HttpEvent, MAX_BODY_BYTES, requestOf, resultOf } from '../../../functions/http.ts';
import { balancerEvent, functionUrlEvent, type HttpCall } from '../../kit/lambda/http-events.ts';

const NEVER = new AbortController().signal;
const HOSTS = [
  ['a function URL', functionUrlEvent],
  ['a load balancer', (call: HttpCall) => balancerEvent(call)],
  ['a load balancer with lists of values', (call: HttpCall) => balancerEvent(call, true)],
] as const;

describe.each(HOSTS)('the request of %s', (_, eventOf) => {
  test('has the raw path and query, which a URL parser would change', () => {
    for (const target of [
      '/v2/docker.io/library/alpine/tags/list?n=2&last=a%2Bb',
      '/v2/x/../docker.io%2Flibrary/alpine/manifests/1',
      '/v2/x%00/manifests/sha256%3Aabc?ns=docker.io',
      '//other.example/v2/',
      '/v2/',
    ])
      expect(requestOf(eventOf({ target }), NEVER).target).toBe(target);
  });

  test('has the method, the headers and the address of the client', () => {
    const headers = { authorization: 'Basic YTpi', range: 'bytes=0-1', 'if-none-match': '"x"' };
    const { request, method, client } = requestOf(eventOf({ target: '/v2/', method: 'HEAD', headers }), NEVER);
    expect([request.method, method, client]).toEqual(['HEAD', 'HEAD', '203.0.113.7']);
    expect(Object.fromEntries(request.headers)).toMatchObject(headers);
  });

  test('may have a method that a Request refuses, and a header that is not valid', () => {
    for (const name of ['TRACE', 'CONNECT', 'get', 'PUT', '', 'G T']) {
      const { request, method } = requestOf(eventOf({ target: '/v2/', method: name }), NEVER);
      expect([request.method, method]).toEqual(['POST', name]);
    }
    const headers = { 'x-odd': 'a\nb', 'x-snowman': '\u2603', 'not a name': 'x', accept: 'text/html' };
    expect(requestOf(eventOf({ target: '/', headers }), NEVER).request.headers.get('accept')).toBe('text/html');
  });

  test('is answered with the bytes, the status and the headers of the response', async () => {
    const bytes = Uint8Array.from({ length: 256 }, (__, at) => at);
    const response = new Response(bytes, { status: 206, headers: { 'content-type': 'application/json', etag: '"x"' } });
    const event = eventOf({ target: '/v2/' });
    const result = await resultOf(event, response);
    expect(result).toMatchObject({ statusCode: 206, isBase64Encoded: true });
    expect(Buffer.from(result.body, 'base64')).toEqual(Buffer.from(bytes));
    const { headers, multiValueHeaders } = result;
    if ('multiValueHeaders' in event) {
      expect(multiValueHeaders).toEqual({ 'content-type': ['application/json'], etag: ['"x"'] });
      expect(headers).toBeUndefined();
    } else {
      expect(headers).toEqual({ 'content-type': 'application/json', etag: '"x"' });
      expect(multiValueHeaders).toBeUndefined();
    }
  });

  test('is answered without a body for HEAD, with the length of the content', async () => {
    const response = new Response(null, { headers: { 'content-length': '5000' } });
    const result = await resultOf(eventOf({ target: '/v2/', method: 'HEAD' }), response);
    expect(result).toMatchObject({ statusCode: 200, body: '', isBase64Encoded: false });
    expect(JSON.stringify(result)).toContain('5000');
  });

  test('gets an error for a body that the host would refuse', async () => {
    const event = eventOf({ target: '/' });
    const fits = await resultOf(event, new Response(new Uint8Array(MAX_BODY_BYTES)));
    expect(fits.statusCode).toBe(200);
    expect(JSON.stringify(fits).length).toBeLessThan(1_000_000);
    const result = await resultOf(event, new Response(new Uint8Array(MAX_BODY_BYTES + 1)));
    expect(result.statusCode).toBe(500);
    expect(Buffer.from(result.body, 'base64').toString()).toContain('700001 bytes');
  });
});

test.each([
  ['nothing', null],
  ['an empty event', {}],
  ['a test event of the console', { key1: 'value1' }],
  ['a scheduled event', { version: '0', source: 'aws.events', detail: {} }],
  ['a context without a request', { requestContext: {} }],
  ['a request without a query', { rawPath: '/v2/', requestContext: { http: { method: 'GET' } } }],
  ['a request of a load balancer without a path', { httpMethod: 'GET', requestContext: { elb: {} } }],
])('%s is not a request, and the message says what the function expects', (_, event) => {
  expect(() => requestOf(event as unknown as HttpEvent, NEVER)).toThrow(
    /^read event: expected a request of the function URL or of a load balancer; send an HTTP request/,
  );
});
