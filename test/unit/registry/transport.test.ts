import { describe, expect, test } from 'vitest';
import { systemWords } from '../../../lib/core/system-error.ts';
import { showsNoTls, transportFailure } from '../../../lib/registry/http/transport.ts';

const url = new URL('https://r.example/v2/?X-Amz-Signature=secret');
const failureFrom = (code: string, message = 'x', proxy?: string) =>
  transportFailure(Object.assign(new Error(message), { code }), { operation: 'get blob b', url, proxy });

test.each([
  ['ECONNREFUSED', 'network', 'retry'],
  ['UND_ERR_CONNECT_TIMEOUT', 'timeout', 'retry'],
  ['DEPTH_ZERO_SELF_SIGNED_CERT', 'network', 'never'],
  ['ERR_TLS_CERT_ALTNAME_INVALID', 'network', 'never'],
  ['ERR_SSL_WRONG_VERSION_NUMBER', 'network', 'never'],
  ['SOMETHING_ELSE', 'network', 'retry'],
])('the error %s is %s with the remedy %s', (code, expected, remedy) => {
  expect(failureFrom(code)).toMatchObject({ code: expected, remedy });
  const all = new AggregateError([Object.assign(new Error('x'), { code }), new Error('y')]);
  expect(transportFailure(all, { operation: 'o', url })).toMatchObject({ code: expected, remedy });
});

test.each([
  ['EHOSTUNREACH', 'no route to the host'],
  ['ENETUNREACH', 'the network is unreachable'],
  ['ECONNREFUSED', 'the connection was refused'],
  ['ENOTFOUND', 'the host name is unknown'],
  ['EPIPE', 'the connection was closed by the other side'],
  ['EPROTO', 'the TLS handshake failed (EPROTO)'],
])('the error %s is described in words', (code, words) => {
  const { message } = failureFrom(code, `connect ${code} 10.0.0.1:443`);
  expect(message).toBe(`get blob b: r.example: ${words}`);
});

test.each(['ECONNRESET', 'ENOTFOUND', 'EAI_AGAIN', 'EMFILE', 'ENETDOWN'])(
  'the error %s is described in the same words as everywhere else',
  (code) => {
    const error = Object.assign(new Error('x'), { code });
    expect(transportFailure(error, { operation: 'o', url }).detail).toBe(`r.example: ${systemWords(error)}`);
  },
);

test('the error for an untrusted certificate lists each way to trust it', () => {
  expect(failureFrom('SELF_SIGNED_CERT_IN_CHAIN').detail).toBe(
    'the certificate of r.example is not trusted (SELF_SIGNED_CERT_IN_CHAIN); add its CA with NODE_EXTRA_CA_CERTS=FILE, ' +
      'use the CAs of the system with NODE_USE_SYSTEM_CA=1, or accept any certificate with --insecure-registry r.example',
  );
});

describe('a failure through a proxy', () => {
  test.each([
    ['ECONNREFUSED', 'the connection was refused'],
    ['ENOTFOUND', 'the host name is unknown'],
    ['UND_ERR_CONNECT_TIMEOUT', 'the connection attempt timed out'],
  ])('names the proxy for %s', (code, words) => {
    expect(failureFrom(code, 'x', 'proxy.example:3128').detail).toBe(
      `r.example through proxy proxy.example:3128: ${words}`,
    );
  });

  test.each([
    ['UND_ERR_ABORTED', 'Proxy response (407) !== 200 when HTTP Tunneling'],
    ['UND_ERR_INVALID_ARG', 'Proxy Authentication Required (407)'],
  ])('asks for credentials of the proxy after %s: %s', (code, message) => {
    const failure = failureFrom(code, message, 'proxy.example:3128');
    expect(failure).toMatchObject({ code: 'denied', remedy: 'never' });
    expect(failure.detail).toBe(
      'r.example through proxy proxy.example:3128: the proxy answered 407; add user:password@ before the host in the URL of the proxy',
    );
  });

  test('is retried if the proxy cannot reach the host', () => {
    const failure = failureFrom('UND_ERR_ABORTED', 'Proxy response (502) !== 200 when HTTP Tunneling', 'p.example:1');
    expect(failure).toMatchObject({ code: 'network', remedy: 'retry' });
    expect(failure.detail).toBe('r.example through proxy p.example:1: the proxy answered 502');
  });
});

test.each([
  ['ECONNREFUSED', undefined, true],
  ['ECONNRESET', undefined, true],
  ['ERR_SSL_WRONG_VERSION_NUMBER', undefined, true],
  ['ERR_SSL_PACKET_LENGTH_TOO_LONG', 'http://p:1', true],
  // A proxy that refuses connections says nothing about the host.
  ['ECONNREFUSED', 'http://p:1', false],
  ['UND_ERR_CONNECT_TIMEOUT', undefined, false],
  ['ENOTFOUND', undefined, false],
  ['DEPTH_ZERO_SELF_SIGNED_CERT', undefined, false],
  ['ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION', undefined, false],
] as const)('the error %s through %s shows that TLS is not spoken: %s', (code, proxy, shown) => {
  expect(showsNoTls(failureFrom(code), proxy)).toBe(shown);
});
